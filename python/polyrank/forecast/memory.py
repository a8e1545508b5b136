"""What a history of memory says: peaks, who held them, and whether it fits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from polyrank import _C
from polyrank.forecast.clusters import Cluster
from polyrank.forecast.owners import OPTIMIZER

# What tensors hold that were made before the forecast began.
OLDER = "from before"

__all__ = ["Memory", "Peak", "StepPeak", "memory_of", "num_communicators", "owner_of"]


@dataclass(frozen=True)
class StepPeak:
    """The most that one step took, in bytes."""

    step: int  # from 1 on
    allocated: int
    reserved: int


@dataclass(frozen=True)
class Peak:
    """The moment at which most was allocated."""

    step: int
    phase: str  # "forward", "backward", "optimizer", or "outside" of all of them
    module: str
    operation: str
    line: str
    by_owner: dict[str, int]  # bytes, most first
    by_module: dict[str, int]


@dataclass(frozen=True)
class Memory:
    """The memory of one rank's GPU, in bytes."""

    total: int
    peak_allocated: int
    peak_reserved: int
    peak: Peak | None  # None: nothing was allocated
    steps: list[StepPeak]
    context: int
    communicators: int  # what they take
    num_communicators: int
    num_retries: int
    num_ooms: int
    reads: list[_C.DataRead] = field(default_factory=list)

    @property
    def beside(self) -> int:
        """What stands beside the allocator's memory."""
        return self.context + self.communicators

    @property
    def headroom(self) -> int:
        """What is left at the peak of what is reserved; negative if it is too much."""
        return self.total - self.beside - self.peak_reserved

    @property
    def fits(self) -> bool:
        """Whether the program ran without running out of memory, and what it held leaves room."""
        return self.num_ooms == 0 and self.peak_allocated + self.beside <= self.total


def num_communicators() -> int:
    """Groups of more than one rank that launched a collective: NCCL makes theirs at the first."""
    return len({row["group_name"] for row in _C.report() if row["group_size"] > 1})


def memory_of(history: _C.MemoryHistory, cluster: Cluster) -> Memory:
    """What the history says, while the GPUs are on."""
    events = history.events()
    steps: dict[int, StepPeak] = {}
    at = -1
    for i, event in enumerate(events):
        before = steps.get(event.step, StepPeak(event.step + 1, 0, 0))
        steps[event.step] = StepPeak(
            event.step + 1,
            max(before.allocated, event.allocated),
            max(before.reserved, event.reserved),
        )
        if at < 0 or event.allocated > events[at].allocated:
            at = i
    stats = [_C.gpu_memory_stats(gpu) for gpu in range(_C.virtual_gpus().count)]
    count = num_communicators()
    return Memory(
        total=cluster.memory_bytes,
        peak_allocated=max((one.allocated for one in steps.values()), default=0),
        peak_reserved=max((one.reserved for one in steps.values()), default=0),
        peak=None if at < 0 else _peak(history, events[at], at),
        steps=list(steps.values()),
        context=cluster.context_bytes,
        communicators=cluster.communicator_bytes(count),
        num_communicators=count,
        num_retries=sum(one["num_alloc_retries"] for one in stats),
        num_ooms=sum(one["num_ooms"] for one in stats),
        reads=_C.data_reads(),
    )


# Owners whose memory counts for the module that ran; that of others is of the module that it belongs to.
_OF_RUNNING_MODULES = ("saved for backward", "temporaries", "workspaces", "communication")


def _peak(history: _C.MemoryHistory, event: _C.MemoryEvent, at: int) -> Peak:
    by_owner: Counter[str] = Counter()
    by_module: Counter[str] = Counter()
    alive = history.alive_after(at)
    older = event.allocated - sum(piece.bytes for piece in alive)
    if older:
        by_owner[OLDER] = older
    for piece in alive:
        owner = owner_of(piece)
        by_owner[owner] += piece.bytes
        if owner in _OF_RUNNING_MODULES:
            by_module[piece.module or "(no module)"] += piece.bytes
        elif piece.detail:
            by_module[piece.detail.rpartition(".")[0] or "(root)"] += piece.bytes
    made = history.pieces()[event.piece]
    return Peak(
        step=event.step + 1,
        phase=_phase(made),
        module=made.module,
        operation=made.operation,
        line=made.line,
        by_owner=dict(by_owner.most_common()),
        by_module=dict(by_module.most_common()),
    )


def owner_of(piece: _C.MemoryPiece) -> str:
    """Whose memory it is; where nobody said, by where it was made."""
    if piece.owner:
        return piece.owner
    # Only FSDP gives a storage its size back outside of operators, and what gathers or reduces in
    # the background has a stream of its own.
    if piece.stream != 0 or not piece.operation:
        return "communication"
    if piece.is_backward or piece.module:
        return "temporaries"
    return "inputs and others"


def _phase(piece: _C.MemoryPiece) -> str:
    if piece.is_backward:
        return "backward"
    if piece.module == OPTIMIZER:
        return "optimizer"
    return "forward" if piece.module else "outside"
