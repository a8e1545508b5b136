"""Forecasts as Chakra execution traces, which ASTRA-sim and others run on networks of their own."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from polyrank.errors import UsageError
from polyrank.forecast.chakra_schema import chakra_messages
from polyrank.forecast.work_graph import GraphNode, work_graph
from polyrank.output.written_whole import write_bytes

__all__ = ["chakra_traces", "check_chakra_folder", "write_chakra"]

# NOTE [Chakra's nodes]
# A file is of one rank: NAME.RANK.et. Node 0 tells the process groups, as PyTorch's own execution traces do. Each
# piece of the GPU's work has a node of the CPU, which launches it, and one of its own.
# data_deps are all that a node starts after: the node before on its stream, what its stream waited for, its launch,
# the CPU's work in order. ctrl_deps are of the CPU alone: who launched it, and the CPU's node before. So a reader of
# data_deps only, as ASTRA-sim is, loses nothing.
# Times are cut to whole microseconds at start and end, and not each duration by itself: whoever runs the nodes
# with these durations gets these starts, and an error never adds up.
# Communication takes what it takes once all ranks are there; who waits for whom is the reader's to find.

_VERSION = "1.0.0"
_GROUPS_NODE = 0
_FIRST_NODE = 1
_NANOSECONDS = 1000  # a microsecond's
_COMPUTE, _COPY, _COMMUNICATION = range(3)  # the core's WorkKind
_TO_HOST = "GPU to host"  # the core's word
_COLLECTIVES = {
    "all_reduce": "ALL_REDUCE",
    "all_gather": "ALL_GATHER",
    "reduce_scatter": "REDUCE_SCATTER",
    "broadcast": "BROADCAST",
    "all_to_all": "ALL_TO_ALL",
    "barrier": "BARRIER",
    "monitored_barrier": "BARRIER",
    "reduce": "REDUCE",
    "gather": "GATHER",
    "scatter": "SCATTER",
}
_COLLECTED = ("all_gather", "gather")  # their payload is what all ranks put in
_MESSAGES = {"send": "COMM_SEND_NODE", "recv": "COMM_RECV_NODE"}

_Group = tuple[str, tuple[int, ...]]  # a name, and the global ranks


class _Columns:
    """A recording's works, field by field."""

    def __init__(self, recording: Mapping[str, Any]) -> None:
        self.rank: int = recording["rank"]
        self._columns = recording
        self._texts = recording["texts"]
        self._series = recording["series"]

    def __len__(self) -> int:
        return len(self._columns["kind"])

    def value(self, column: str, work: int) -> Any:
        return self._columns[column][work]

    def text(self, column: str, work: int) -> str:
        text: str = self._texts[self._columns[column][work]]
        return text

    def series(self, work: int) -> _Group | None:
        """Of communication: whose launches it meets, and their ranks; None: nobody knows."""
        index = self._columns["series_of"][work]
        if index < 0:
            return None
        return self._series[index]["name"], tuple(self._series[index]["ranks"])

    def is_collective(self, work: int) -> bool:
        is_communication = self.value("kind", work) == _COMMUNICATION
        return is_communication and self.text("name", work) not in _MESSAGES

    def is_message(self, work: int) -> bool:
        is_communication = self.value("kind", work) == _COMMUNICATION
        return is_communication and self.text("name", work) in _MESSAGES


class _Numbers:
    """Numbers that must be the same in all files: of groups, and of their messages' tags."""

    def __init__(self, ranks: Sequence[_Columns], world_size: int) -> None:
        labels: dict[_Group, str] = {}
        channels: set[str] = set()
        for columns in ranks:
            for work in range(len(columns)):
                series = columns.series(work)
                if series is None:
                    continue
                if columns.is_message(work):
                    channels.add(series[0])
                elif columns.is_collective(work):
                    labels[series] = columns.text("group", work)
        self.labels = labels
        # Readers take 0 for all ranks there are.
        is_world = {group: len(group[1]) == world_size for group in labels}
        ordered = sorted(labels, key=lambda group: (not is_world[group], group[1], group[0]))
        first = 0 if ordered and is_world[ordered[0]] else 1
        self.of_group = {group: number for number, group in enumerate(ordered, start=first)}
        self._channels = {name: number for number, name in enumerate(sorted(channels))}

    def tag(self, channel: str, message: int) -> int:
        """Of the n-th message from one rank to another one in a group."""
        return message * len(self._channels) + self._channels[channel]


class _Trace:
    """The file of one rank."""

    def __init__(self, recording: Mapping[str, Any], numbers: _Numbers) -> None:
        self._columns = _Columns(recording)
        self._graph = work_graph(recording)
        self._numbers = numbers
        self._num_messages: dict[_Group, int] = {}
        self._chakra = chakra_messages()

    def encoded(self, world_size: int) -> bytes:
        from google.protobuf.proto import serialize_length_prefixed

        file = io.BytesIO()
        about = {"rank": self._columns.rank, "world_size": world_size}
        serialize_length_prefixed(
            self._chakra.GlobalMetadata(
                version=_VERSION,
                attr=[
                    self._attribute("schema", string_val="polyrank forecast"),
                    *(self._attribute(name, int64_val=value) for name, value in about.items()),
                ],
            ),
            file,
        )
        serialize_length_prefixed(self._groups_node(), file)
        for number, node in enumerate(self._graph, start=_FIRST_NODE):
            serialize_length_prefixed(self._node(number, node), file)
        return file.getvalue()

    def _attribute(self, name: str, **value: Any) -> Any:
        return self._chakra.AttributeProto(name=name, **value)

    def _groups_node(self) -> Any:
        groups = [
            {
                "pg_name": str(number),
                "pg_desc": self._numbers.labels[group],
                "backend_config": "cuda:nccl",
                "ranks": list(group[1]),
                "group_size": len(group[1]),
            }
            for group, number in self._numbers.of_group.items()
            if self._columns.rank in group[1]
        ]
        node = self._chakra.Node(
            id=_GROUPS_NODE,
            name="## process_group:init ##",
            type=self._chakra.METADATA_NODE,
            attr=[self._attribute("is_cpu_op", bool_val=True)],
        )
        # A list of one text, as PyTorch's traces have it: readers cut off what stands around the JSON.
        node.inputs.values = f"['{json.dumps(groups)}']"
        return node

    def _node(self, number: int, node: GraphNode) -> Any:
        start, end = node.start_ns // _NANOSECONDS, node.end_ns // _NANOSECONDS
        after = [one + _FIRST_NODE for one in node.after] or [_GROUPS_NODE]
        launchers = [one for one in node.after if self._graph[one].is_host and node.is_host]
        if node.launched_by is not None:
            launchers = [node.launched_by]
        made = self._chakra.Node(
            id=number,
            start_time_micros=start,
            duration_micros=end - start,
            data_deps=after,
            ctrl_deps=[one + _FIRST_NODE for one in launchers],
            attr=[self._attribute("is_cpu_op", bool_val=node.is_host)],
        )
        if node.is_host:
            made.type = self._chakra.COMP_NODE
            made.name = "CPU" if node.work is None else f"launch {self._name(node.work)}"
        elif node.work is not None:
            made.name = self._name(node.work)
            self._tell_work(node.work, made)
        return made

    def _name(self, work: int) -> str:
        return self._columns.text("name", work)

    def _tell_work(self, work: int, node: Any) -> None:
        columns = self._columns
        node.attr.append(self._attribute("stream", int64_val=columns.value("stream", work)))
        if module := columns.text("module", work):
            node.attr.append(self._attribute("module", string_val=module))
        if columns.is_message(work):
            self._tell_message(work, node)
        elif columns.is_collective(work):
            self._tell_collective(work, node)
        else:
            self._tell_kernel(work, node)

    def _tell_kernel(self, work: int, node: Any) -> None:
        columns, chakra = self._columns, self._chakra
        if columns.value("kind", work) == _COPY:
            is_store = columns.text("detail", work) == _TO_HOST
            node.type = chakra.MEM_STORE_NODE if is_store else chakra.MEM_LOAD_NODE
        else:
            node.type = chakra.COMP_NODE
            flops = round(columns.value("flops", work))
            node.attr.append(self._attribute("num_ops", int64_val=flops))
        size = round(columns.value("bytes", work))
        node.attr.append(self._attribute("tensor_size", uint64_val=size))

    def _tell_collective(self, work: int, node: Any) -> None:
        columns, chakra = self._columns, self._chakra
        name, group = columns.text("name", work), columns.series(work)
        if name not in _COLLECTIVES or group is None:
            raise UsageError(
                f"Chakra's schema has no {name} (rank {columns.rank}, "
                f"group {columns.text('group', work)!r}): leave --chakra out"
            )
        size = columns.value("bytes", work) / (len(group[1]) if name in _COLLECTED else 1)
        node.type = chakra.COMM_COLL_NODE
        kind = getattr(chakra, _COLLECTIVES[name])
        node.attr.extend(
            [
                self._attribute("comm_type", int64_val=kind),
                self._attribute("comm_size", int64_val=round(size)),
                self._attribute("pg_name", string_val=str(self._numbers.of_group[group])),
            ]
        )

    def _tell_message(self, work: int, node: Any) -> None:
        columns = self._columns
        series = columns.series(work)
        if series is None:
            raise UsageError(
                f"rank {columns.rank} receives from anyone, and Chakra's traces must say from whom: "
                "leave --chakra out"
            )
        number = self._num_messages.get(series, 0)
        self._num_messages[series] = number + 1
        channel, (source, target) = series
        node.type = getattr(self._chakra, _MESSAGES[columns.text("name", work)])
        tag = self._numbers.tag(channel, number)
        node.attr.extend(
            [
                self._attribute("comm_size", int64_val=round(columns.value("bytes", work))),
                self._attribute("comm_src", int32_val=source),
                self._attribute("comm_dst", int32_val=target),
                self._attribute("comm_tag", int32_val=tag),
            ]
        )


def chakra_traces(recordings: Sequence[Mapping[str, Any]], world_size: int) -> dict[int, bytes]:
    """The content of each rank's file, by rank; of all that the ranks launched.

    Args:
        recordings: What `GpuTimeline.recording()` gave of each rank.
        world_size: How many ranks there are, those included that were not run.

    Raises:
        UsageError: a rank launched what Chakra's schema can't say.
    """
    numbers = _Numbers([_Columns(recording) for recording in recordings], world_size)
    return {
        recording["rank"]: _Trace(recording, numbers).encoded(world_size)
        for recording in recordings
    }


def check_chakra_folder(folder: Path, name: str, ranks: Iterable[int]) -> Path:
    """The absolute path of a folder that can hold traces of these ranks and of no others.

    Raises:
        UsageError: it is a file, or has traces of that name of other ranks. Those would be read
            as if they were of the same run, and groups have other numbers there.
        OSError: it can't be made.
    """
    folder = folder.resolve()  # before the script changes the working directory
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{str(folder)!r} is no folder")
    folder.mkdir(parents=True, exist_ok=True)
    ours = {_file_name(name, rank) for rank in ranks}
    pattern = re.compile(re.escape(name) + r"\.\d+\.et")
    others = sorted(
        file.name
        for file in folder.iterdir()
        if pattern.fullmatch(file.name) and file.name not in ours
    )
    if others:
        raise UsageError(
            f"{str(folder)!r} has {others[0]} of an earlier run, which this one does not replace: "
            "name another folder"
        )
    return folder


def write_chakra(folder: Path, name: str, traces: Mapping[int, bytes]) -> None:
    """Write `NAME.RANK.et` of each rank, as ASTRA-sim looks for them."""
    for rank, content in traces.items():
        write_bytes(folder / _file_name(name, rank), content)


def _file_name(name: str, rank: int) -> str:
    return f"{name}.{rank}.et"
