"""From a tensor that ranks hold differently back to the operation that parted them.

NOTE [Going back]
Two ranks that hold different values are looked at. An operation whose operands differ between the two
handed the difference on; one whose operands agree made it. All that is reached from the tensor by
operands that differ is a `Trail`; where it ends are its *roots*:

- only one of the two ran the operation (`if rank == 0:`);
- a number it is given differs (`x[rank]`, a learning rate);
- it draws from random streams that differ;
- it gives each rank its own part: scatter, reduce-scatter, all-to-all, a message;
- it reads what no recorded operation wrote: data of the rank's own;
- it takes a parameter that the ranks hold differently, as shards are.

Which of these is a fault depends on what should have agreed; `verdict.py` says that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from polyrank.divergence.content import Content
from polyrank.divergence.operations import Key, Operand, Operation

__all__ = ["Root", "Trail", "Visit", "differs", "trail"]

_DISTRIBUTING = frozenset(
    {"scatter", "reduce_scatter", "all_to_all", "recv", "send_recv", "gather", "reduce"}
)

Log = Mapping[Key, Operation]


class Root(Enum):
    """Why an operation whose operands agree gives different results."""

    ONLY_ONE = "ran on one of them only"
    NUMBER = "was given different numbers"
    RANDOM = "drew from random streams that differ"
    DISTRIBUTES = "gives each rank its own part"
    OUTSIDE = "read what the rank got from outside"
    SHARD = "took a parameter of which each rank has its own part"
    UNKNOWN = "gave different results for equal operands"


@dataclass(eq=False)
class Visit:
    """An operation on the trail."""

    operation: Operation  # as rank a ran it, or b if a did not
    other: Operation | None  # as rank b did
    differing: list[int] = field(default_factory=list)  # positions of operands
    root: Root | None = None
    only_on: int | None = None  # the rank that ran it, of ONLY_ONE
    leads_to: Visit | None = None  # the next one towards the tensor

    def pairs(self) -> Iterator[tuple[Operand, Operand]]:
        """The operands of both ranks."""
        if self.other is not None:
            yield from zip(self.operation.operands, self.other.operands, strict=False)


@dataclass
class Trail:
    """How two ranks came to hold different values."""

    ranks: tuple[int, int]
    visits: list[Visit]  # from the tensor back, nearest first
    logs: tuple[Log, Log]

    def roots(self) -> list[Visit]:
        """Where the trail ends, the first in the program's order first."""
        found = [visit for visit in self.visits if visit.root is not None]
        return sorted(found, key=lambda visit: visit.operation.number)


def value_on(content: Content | None, rank: int) -> bytes | None:
    """What identifies what the rank holds; None: not known."""
    if content is None:
        return None
    return next((share.digest for share in content if share.holds(rank)), None)


def differs(operand: Operand, other: Operand, ranks: tuple[int, int]) -> bool:
    """Whether the two ranks hold it differently."""
    mine, theirs = value_on(operand.content, ranks[0]), value_on(other.content, ranks[1])
    return mine is not None and theirs is not None and mine != theirs


def trail(
    ranks: tuple[int, int],
    writers: tuple[Sequence[Operation], Sequence[Operation]],
    logs: tuple[Log, Log],
) -> Trail:
    """Go back from what `writers` wrote on the two ranks."""
    found = Trail(ranks, [], logs)
    seen: set[int] = set()
    waiting: deque[Visit] = deque()

    def visit_all(
        mine: Sequence[Operation], theirs: Sequence[Operation], leads_to: Visit | None
    ) -> None:
        for visit in _visits(mine, theirs, logs, ranks):
            if id(visit.operation) not in seen:
                seen.add(id(visit.operation))
                visit.leads_to = leads_to
                waiting.append(visit)

    visit_all(*writers, None)
    while waiting:
        visit = waiting.popleft()
        found.visits.append(visit)
        if visit.root is not None:
            continue
        _look_at(visit, ranks)
        pairs = list(visit.pairs())
        for index in visit.differing:
            mine, other = pairs[index]
            if not _is_shard(mine):
                visit_all(mine.writers, other.writers, visit)
    return found


def _visits(
    mine: Sequence[Operation],
    theirs: Sequence[Operation],
    logs: tuple[Log, Log],
    ranks: tuple[int, int],
) -> Iterator[Visit]:
    for operation in mine:
        other = logs[1].get(operation.key)
        if other is None:
            yield Visit(operation, None, root=Root.ONLY_ONE, only_on=ranks[0])
        else:
            yield Visit(operation, other)
    for operation in theirs:
        if operation.key not in logs[0]:
            yield Visit(operation, None, root=Root.ONLY_ONE, only_on=ranks[1])


def _look_at(visit: Visit, ranks: tuple[int, int]) -> None:
    """Find which operands differ, and whether the trail ends here."""
    operation = visit.operation
    pairs = list(visit.pairs())
    visit.differing = [
        index for index, (mine, other) in enumerate(pairs) if differs(mine, other, ranks)
    ]
    numbers = [index for index in visit.differing if pairs[index][0].is_scalar]
    tensors = [index for index in visit.differing if not pairs[index][0].is_scalar]
    if operation.kind in _DISTRIBUTING:
        visit.root = Root.DISTRIBUTES
    elif operation.is_view and not visit.differing:
        pass  # what it shows was written later
    elif not tensors:
        visit.root = _root_of(operation, has_numbers=bool(numbers))
    elif all(_is_shard(pairs[index][0]) or not pairs[index][0].writers for index in tensors):
        is_shard = any(_is_shard(pairs[index][0]) for index in tensors)
        visit.root = Root.SHARD if is_shard else Root.OUTSIDE


def _is_shard(operand: Operand) -> bool:
    return operand.is_parameter and not operand.is_written


def _root_of(operation: Operation, *, has_numbers: bool) -> Root:
    if has_numbers:
        return Root.NUMBER
    if operation.is_random:
        return Root.RANDOM
    return Root.DISTRIBUTES if operation.kind else Root.UNKNOWN
