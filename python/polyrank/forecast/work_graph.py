"""What a rank launched as a graph: which piece of work starts after which.

A timeline knows streams, events and waits (NOTE [The timeline] in timeline/timeline.h). Other simulators know
nodes that start when others are over. This is the way from the one to the other.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from polyrank import _C

__all__ = ["GraphNode", "work_graph"]


class _Action(IntEnum):
    """The core's TimelineAction."""

    host_works = 0
    launch = 1
    record = 2
    record_end = 3
    wait = 4
    host_wait = 5
    host_wait_for_all = 6
    end_step = 7


@dataclass(frozen=True)
class GraphNode:
    """A piece of work of the GPU, or what the CPU does up to a launch or a wait."""

    is_host: bool
    work: int | None  # in the recording: which work it is, or which one the CPU launches by it
    launched_by: int | None  # of the GPU's work: the CPU's node
    after: tuple[int, ...]  # the nodes that are over when it starts, in order
    start_ns: int
    end_ns: int


def work_graph(recording: Mapping[str, Any]) -> list[GraphNode]:
    """The graph of what `GpuTimeline.recording()` gave; nodes have their index as their number.

    Ensures:
        (1) a node comes after those that it starts after;
        (2) it starts when the last of them ends, or at 0 if there are none;
        (3) works start and end as on the rank's own timeline.
    """
    return _Walk(recording).nodes


# By stream, the last of its nodes that is waited for. Those before it there are over by then.
_Ends = dict[int, int]


def _wait_for(ends: _Ends, others: Mapping[int, int]) -> None:
    for stream, node in others.items():
        ends[stream] = max(node, ends.get(stream, node))


class _Walk:
    """Goes through a list of commands, and keeps who waits for whom."""

    def __init__(self, recording: Mapping[str, Any]) -> None:
        self.nodes: list[GraphNode] = []
        self._durations = recording["duration"]
        self._launch_times = recording["launch_time"]
        self._work_streams = recording["stream"]
        self._num_works = 0
        self._node_of: list[int] = []  # of each work
        self._last: _Ends = {}  # of each stream
        self._until: defaultdict[int, _Ends] = defaultdict(dict)  # what its next work waits for
        self._events: list[_Ends] = []
        # Of each stream the last launches, of which the first is over before the next one.
        self._queued: defaultdict[int, deque[int]] = defaultdict(deque)
        self._host: int | None = None  # the CPU's last node
        self._host_until: _Ends = {}
        self._host_ns = 0  # what the CPU has done since
        columns = (recording[name] for name in ("actions", "streams", "numbers"))
        for action, stream, number in zip(*columns, strict=True):
            self._obey(_Action(action), stream, number)
        self._end_host_work()

    def _obey(self, action: _Action, stream: int, number: int) -> None:
        if action == _Action.host_works:
            self._host_ns += number
        elif action == _Action.launch:
            self._launch()
        elif action == _Action.record:
            self._events.append(self._pending_on(stream))
        elif action == _Action.record_end:
            self._events.append({self._work_streams[number]: self._node_of[number]})
        elif action == _Action.wait and number >= 0:  # others are of no event
            _wait_for(self._until[stream], self._events[number])
        elif action == _Action.host_wait and number >= 0:
            self._end_host_work()
            _wait_for(self._host_until, self._events[number])
        elif action == _Action.host_wait_for_all:
            self._end_host_work()
            for one in {*self._last, *self._until}:
                _wait_for(self._host_until, self._pending_on(one))

    def _pending_on(self, stream: int) -> _Ends:
        ends = dict(self._until[stream])
        if stream in self._last:
            _wait_for(ends, {stream: self._last[stream]})
        return ends

    def _launch(self) -> None:
        work = self._num_works
        self._num_works += 1
        stream = self._work_streams[work]
        queued = self._queued[stream]
        if len(queued) == _C.MOST_QUEUED_LAUNCHES:
            self._end_host_work()
            _wait_for(self._host_until, {stream: queued.popleft()})
        self._host_ns += self._launch_times[work]
        cpu = self._add_host_node(work)
        ends = self._pending_on(stream)
        self._until.pop(stream, None)
        node = self._add({cpu, *ends.values()}, self._durations[work], work=work, launched_by=cpu)
        self._node_of.append(node)
        queued.append(node)
        self._last[stream] = node

    def _end_host_work(self) -> None:
        """Before a wait: what the CPU does later is not over by then."""
        if self._host_ns:
            self._add_host_node(None)

    def _add_host_node(self, work: int | None) -> int:
        before = set() if self._host is None else {self._host}
        after = before | set(self._host_until.values())
        self._host = self._add(after, self._host_ns, work=work, is_host=True)
        self._host_until, self._host_ns = {}, 0
        return self._host

    def _add(
        self,
        after: set[int],
        duration: int,
        *,
        work: int | None,
        launched_by: int | None = None,
        is_host: bool = False,
    ) -> int:
        start = max((self.nodes[node].end_ns for node in after), default=0)
        self.nodes.append(
            GraphNode(
                is_host=is_host,
                work=work,
                launched_by=launched_by,
                after=tuple(sorted(after)),
                start_ns=start,
                end_ns=start + duration,
            )
        )
        return len(self.nodes) - 1
