"""Object collectives of torch.distributed for all ranks at once.

An object of a lockstep program is each rank's object: on rank r, the LocalTensors, rank-dependent
numbers and PerRanks in it, however deep, are r's tensors, numbers and objects. So it is pickled once for
each set of ranks that hold the same, and what a rank receives is unpickled from its sender's. Where
the ranks of the program receive different things, they are merged back into one such object.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from polyrank import _C
from polyrank.errors import UnsupportedOpError, UsageError
from polyrank.lockstep_world.groups.process_groups import group_and_root, groups_of_family
from polyrank.lockstep_world.in_lockstep import in_lockstep
from polyrank.rank_text.names import refuse_in_bytes
from polyrank.replacing.row import Row
from polyrank.tensor.active_modes import enabled_local_tensor_mode
from polyrank.tensor.local_tensor import LocalTensor
from polyrank.tensor.local_tensor_mode import LocalTensorMode
from polyrank.tensor.per_rank import PerRank, merged

__all__ = ["ROWS"]

# What a rank gets: an object, as which rank holds it.
Source = tuple[Any, int]


def _itself(value: Any) -> Any:
    return value


class _RankPickler(pickle.Pickler):
    """Pickles an object as one rank holds it, and notes what in it may differ between ranks."""

    def __init__(self, file: io.BytesIO, rank: int) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._rank = rank
        self.rank_dependent: list[Any] = []

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, PerRank):
            self.rank_dependent.append(obj)
            return _itself, (obj.on_rank(self._rank),)
        if isinstance(obj, LocalTensor):
            self.rank_dependent.append(obj)
            return _itself, (obj.on_rank(self._rank).detach().clone(),)
        if isinstance(obj, torch.SymInt | torch.SymFloat | torch.SymBool):
            self.rank_dependent.append(obj)
            return _itself, (obj.node._local_ints[self._rank],)
        return NotImplemented


class _Pickled:
    """The bytes of one object on each rank, made when they are asked for."""

    def __init__(self, value: Any, ranks: frozenset[int]) -> None:
        self._value = value
        self._ranks = ranks
        self._bytes: dict[int, bytes] = {}
        self._cohort_of: dict[int, list[int]] | None = None  # known from the first pickling on

    def on_rank(self, rank: int) -> bytes:
        """The bytes of what `rank` holds."""
        if rank not in self._bytes:
            file = io.BytesIO()
            pickler = _RankPickler(file, rank)
            pickler.dump(self._value)
            refuse_in_bytes(file.getvalue(), "an object collective")
            if self._cohort_of is None:
                self._cohort_of = self._cohorts(pickler.rank_dependent)
            self._bytes.update(dict.fromkeys(self._cohort_of[rank], file.getvalue()))
        return self._bytes[rank]

    def _cohorts(self, rank_dependent: list[Any]) -> dict[int, list[int]]:
        if any(isinstance(v, PerRank | torch.SymFloat | torch.SymBool) for v in rank_dependent):
            return {rank: [rank] for rank in self._ranks}
        cohorts = _C.common_cohorts(rank_dependent, _C.RankSet(sorted(self._ranks)))
        lists = [list(cohort) for cohort in cohorts]
        return {rank: cohort for cohort in lists for rank in cohort}


def _unpickled(content: bytes) -> Any:
    return pickle.loads(content)  # noqa: S301  # what this process pickled


def _unpickled_of_weights(content: bytes) -> Any:
    """What `torch.load(weights_only=True)` makes of what `torch.save` makes of it.

    Raises:
        pickle.UnpicklingError: there is more in it than that allows.
    """
    file = io.BytesIO()
    torch.save(_unpickled(content), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def _merge_bytes(ranks_of_bytes: dict[bytes, list[int]], unpickle: Callable[[bytes], Any]) -> Any:
    """One object that is on each rank what its bytes say."""
    if len(ranks_of_bytes) == 1:
        return unpickle(next(iter(ranks_of_bytes)))
    object_of_rank = {}
    for content, ranks in ranks_of_bytes.items():
        object_of_rank.update(dict.fromkeys(ranks, unpickle(content)))
    return merged({rank: object_of_rank[rank] for rank in sorted(object_of_rank)})


def _run(
    group: dist.ProcessGroup,
    op_name: str,
    target: list[Any],
    receivers: Callable[[list[int]], list[tuple[list[int], int]]],
    source_of: Callable[[int, list[int], int], Source],
    bytes_of_rank: Callable[[list[int]], int] = sum,
    *,
    weights_only: bool,
) -> None:
    """Fill `target` with what each rank gets; ranks that get nothing keep what they have.

    `receivers` gives, of a group's members, the ranks that get one thing and the position of the
    first of them, for each thing. `source_of(entry, members, position)` says what it is.
    `bytes_of_rank` is what a rank gives, from the bytes of each entry.
    """
    mode: LocalTensorMode = enabled_local_tensor_mode()  # type: ignore[assignment]
    groups = [members for members in groups_of_family(group) if mode.ranks.issuperset(members)]
    shares = [(members, *share) for members in groups for share in receivers(members)]
    keeping = sorted(mode.ranks.difference(*(ranks for _, ranks, _ in shares)))
    pickled: dict[int, _Pickled] = {}

    def bytes_of(source: Source) -> bytes:
        value, holder = source
        return pickled.setdefault(id(value), _Pickled(value, mode.ranks)).on_rank(holder)

    with mode.disable():
        received: list[dict[bytes, list[int]]] = []
        for i, before in enumerate(target):
            ranks_of_bytes: dict[bytes, list[int]] = {}
            for members, ranks, position in shares:
                content = bytes_of(source_of(i, members, position))
                ranks_of_bytes.setdefault(content, []).extend(ranks)
            for rank in keeping:
                ranks_of_bytes.setdefault(bytes_of((before, rank)), []).append(rank)
            received.append(ranks_of_bytes)
        unpickle = _unpickled_of_weights if weights_only else _unpickled
        target[:] = [_merge_bytes(ranks_of_bytes, unpickle) for ranks_of_bytes in received]
    num_bytes = bytes_of_rank([max(map(len, contents)) for contents in received])
    _C.record_launch(op_name, group.group_name, dist.get_world_size(), num_bytes)


def _all_members(members: list[int]) -> list[tuple[list[int], int]]:
    return [(members, 0)]


def _each_member(members: list[int]) -> list[tuple[list[int], int]]:
    return [([rank], position) for position, rank in enumerate(members)]


def _check_length(name: str, values: list[Any], group: dist.ProcessGroup) -> None:
    if len(values) != group.size():
        raise UsageError(f"{name} has {len(values)} entries; the group has {group.size()} ranks")


# Not every torch that we support has `weights_only`.
def all_gather_object(
    object_list: list[Any],
    obj: Any,
    group: dist.ProcessGroup | None = None,
    weights_only: bool = False,
) -> None:
    """`torch.distributed.all_gather_object` for all ranks."""
    group, _ = group_and_root(group, None, 0)
    _check_length("object_list", object_list, group)
    _run(
        group,
        "c10d::allgather_",
        object_list,
        _all_members,
        lambda i, members, _: (obj, members[i]),
        max,
        weights_only=weights_only,
    )


def gather_object(
    obj: Any,
    object_gather_list: list[Any] | None = None,
    dst: int | torch.SymInt | None = None,
    group: dist.ProcessGroup | None = None,
    group_dst: int | None = None,
    weights_only: bool = False,
) -> None:
    """`torch.distributed.gather_object` for all ranks; on ranks besides `dst` the list stays."""
    group, root = group_and_root(group, dst, group_dst)
    if object_gather_list is None:
        raise UsageError("in lockstep all ranks run gather_object: give object_gather_list")
    _check_length("object_gather_list", object_gather_list, group)
    _run(
        group,
        "c10d::gather_",
        object_gather_list,
        lambda members: [([members[root]], root)],
        lambda i, members, _: (obj, members[i]),
        max,
        weights_only=weights_only,
    )


def broadcast_object_list(
    object_list: list[Any],
    src: int | torch.SymInt | None = None,
    group: dist.ProcessGroup | None = None,
    device: torch.device | None = None,
    group_src: int | None = None,
    weights_only: bool = False,
) -> None:
    """`torch.distributed.broadcast_object_list` for all ranks."""
    group, root = group_and_root(group, src, group_src)
    _run(
        group,
        "c10d::broadcast_",
        object_list,
        _all_members,
        lambda i, members, _: (object_list[i], members[root]),
        weights_only=weights_only,
    )


def scatter_object_list(
    scatter_object_output_list: list[Any],
    scatter_object_input_list: list[Any] | None = None,
    src: int | torch.SymInt | None = None,
    group: dist.ProcessGroup | None = None,
    group_src: int | None = None,
    weights_only: bool = False,
) -> None:
    """`torch.distributed.scatter_object_list` for all ranks: the input is the source's."""
    group, root = group_and_root(group, src, group_src)
    if scatter_object_input_list is None or not scatter_object_output_list:
        raise UsageError(
            "in lockstep all ranks run scatter_object_list: give scatter_object_input_list, and "
            "an output list of one entry"
        )
    given: list[Any] = scatter_object_input_list
    _check_length("scatter_object_input_list", given, group)
    first = scatter_object_output_list[:1]
    _run(
        group,
        "c10d::scatter_",
        first,
        _each_member,
        lambda _, members, position: (given[position], members[root]),
        weights_only=weights_only,
    )
    scatter_object_output_list[:1] = first


def _refuse_messages(*args: Any, **kwargs: Any) -> None:
    raise UnsupportedOpError(
        "lists of objects can't be sent or received in lockstep: use broadcast_object_list or "
        "scatter_object_list, send tensors, or run the program in the threads world"
    )


_WHY = "pickles what one process has, and an object is each rank's object"

ROWS = tuple(
    Row("torch.distributed.distributed_c10d", name, in_lockstep(own), _WHY)
    for name, own in (
        ("all_gather_object", all_gather_object),
        ("gather_object", gather_object),
        ("broadcast_object_list", broadcast_object_list),
        ("scatter_object_list", scatter_object_list),
        ("send_object_list", _refuse_messages),
        ("recv_object_list", _refuse_messages),
    )
)
