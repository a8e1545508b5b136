"""`polyrank.agreement()`: a block in which ranks are watched for what they should hold alike."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist

from polyrank import _C
from polyrank.divergence.finding import Finding
from polyrank.divergence.meeting import Meeting
from polyrank.divergence.recording import OperationLog
from polyrank.divergence.watch import Watch
from polyrank.errors import DivergenceError, UsageError
from polyrank.rank_threads.rank_globals import rank_globals
from polyrank.tensor.active_modes import enabled_local_tensor_mode

__all__ = ["Agreement", "agreement", "expect_equal", "launches_told", "watched_ranks"]

# Who watches: by the rank of a thread, None for a thread that runs all ranks.
_watches: dict[int | None, Watch] = {}
# The meetings of each run of rank threads, in the order in which its ranks enter blocks.
_meetings: WeakKeyDictionary[Any, list[Meeting]] = WeakKeyDictionary()
_entered: WeakKeyDictionary[Any, dict[int, int]] = WeakKeyDictionary()


class Agreement:
    """What one `polyrank.agreement()` block found, also while the block still runs."""

    def __init__(self, meeting: Meeting) -> None:
        self._meeting = meeting

    @property
    def findings(self) -> list[Finding]:
        """Where ranks part, the first first."""
        return self._meeting.findings

    @property
    def drifts(self) -> list[Finding]:
        """Where random streams part that were the same, which by itself is no fault; known at the end."""
        return self._meeting.drifts

    @property
    def unwatched(self) -> dict[str, str]:
        """What is not watched, and why, by name."""
        return self._meeting.unwatched

    def text(self) -> str:
        """The findings, as lines; empty: there are none."""
        return "\n\n".join(finding.text() for finding in self.findings)


@contextlib.contextmanager
def agreement(
    *, operators: bool = True, ignore: Sequence[str] = (), raises: bool = True
) -> Iterator[Agreement]:
    """Watch what ranks should hold alike in the block, and name the operation that parts them.

    In lockstep all ranks enter at once; on rank threads each enters. Parameters, buffers and optimizer
    states that were equal once, DTensors by their placements, parameters whose gradients are reduced,
    and what `expect_equal` declares. docs/divergence.md says what counts as a fault.

    Args:
        operators: record operators from here on, to name the operation. False costs next to nothing,
            and names the tensor and the optimizer step only.
        ignore: patterns of names that may differ: "*.experts.*".
        raises: raise at the end of the block. False: read `findings`.

    Raises:
        DivergenceError: ranks part that should agree.
        UsageError: the calling thread runs no ranks, or ranks that are processes, which hold their
            tensors apart.

    Example:
        with polyrank.lockstep(4), polyrank.agreement():
            train()
    """
    if (around := _watches.get(_key())) is not None:
        yield Agreement(around.meeting)
        return
    meeting = _joined_meeting(ignore)
    with watched_ranks(meeting, operators=operators):
        found = Agreement(meeting)
        try:
            yield found
        except (Exception, DivergenceError) as error:
            if meeting.findings:
                error.add_note(f"Before that ranks parted:\n{found.text()}")
            raise
    if raises and meeting.findings:
        raise DivergenceError(found.text())


@contextlib.contextmanager
def watched_ranks(meeting: Meeting, *, operators: bool) -> Iterator[None]:
    """A block in which the calling thread's ranks tell the meeting what they hold."""
    mode = enabled_local_tensor_mode()
    key = _key()
    ranks = tuple(sorted(mode.ranks)) if mode is not None else (key or 0,)
    log = OperationLog(ranks, in_lockstep=mode is not None) if operators else None
    watch = _watches[key] = Watch(meeting, ranks, log)
    try:
        with watch.watching():
            yield
    finally:
        del _watches[key]
        meeting.leave(watch)


@contextlib.contextmanager
def launches_told() -> Iterator[None]:
    """A block, entered before ranks run, in which watches are told of collectives without a log of operators."""
    observer = _C.LaunchObserver(_tell_launch)
    try:
        yield
    finally:
        observer.stop()


def _tell_launch(operator: str, tensors: list[torch.Tensor]) -> None:
    watch = _watches.get(_key())
    if watch is not None:
        watch.before_collective(tensors)


def expect_equal(
    value: torch.Tensor | torch.Generator,
    group: dist.ProcessGroup | None = None,
    *,
    name: str = "",
) -> None:
    """Declare that the ranks of the group hold the value alike here; checked within `agreement()`.

    Elsewhere it costs nothing and checks nothing, so that it may stay in a program.

    Args:
        value: a tensor that each of these ranks holds, or a generator, whose state is to be the same:
            `torch.default_generator`. Its state as `torch.get_rng_state()` gives it will do, too.
        group: whose ranks; None: all.
        name: what to call it.

    Raises:
        UsageError: it is neither a tensor nor a generator.
    """
    if not isinstance(value, torch.Tensor | torch.Generator):
        raise UsageError(
            f"expect_equal() compares tensors and torch.Generators, not {type(value).__name__}: "
            "give a number as torch.tensor(number)"
        )
    watch = _watches.get(_key())
    if watch is not None:
        default = "generator" if isinstance(value, torch.Generator) else "tensor"
        watch.expect_equal(value, _groups(watch, group), name or default)


def _groups(watch: Watch, group: dist.ProcessGroup | None) -> list[list[int]]:
    if group is None:
        return [list(range(watch.meeting.world_size))]
    if len(watch.ranks) > 1:
        return _C.group_family(group.group_name, len(watch.ranks))
    return [list(dist.get_process_group_ranks(group))]


def _key() -> int | None:
    thread = _C.RankThread.current()
    return None if thread is None else thread.rank


def _joined_meeting(ignore: Sequence[str]) -> Meeting:
    """Where the calling thread's ranks meet the others."""
    mode = enabled_local_tensor_mode()
    if mode is not None:
        return Meeting(len(mode.ranks), ignore)
    own = rank_globals()
    if own is None:
        raise UsageError(
            "polyrank.agreement() was entered where no ranks run, or ranks that are processes, whose "
            "tensors it can't compare: enter it in polyrank.lockstep(), on the ranks of "
            "polyrank.run_ranks(), or run the script with polyrank check agreement"
        )
    rank = own.rank_thread.rank
    meetings = _meetings.setdefault(own.stopped, [])
    entered = _entered.setdefault(own.stopped, {})
    index = entered.get(rank, 0)
    entered[rank] = index + 1
    if index == len(meetings):
        meetings.append(Meeting(own.world_size, ignore))
    return meetings[index]
