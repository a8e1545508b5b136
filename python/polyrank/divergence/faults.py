"""Faults that a trail shows by itself: what ranks went through in different orders, rows that tensor parallel ranks
should share, and values of all ranks that meet what each has a part of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from polyrank.any_world.rank_names import rank_names
from polyrank.divergence.blame import Root, Trail, Visit, differs, trail
from polyrank.divergence.finding import site_of
from polyrank.divergence.operations import Operand, Operation

__all__ = ["Fault", "fault_of_meeting", "fault_of_order", "fault_of_rows"]

_MOST_TAKERS = 64  # looked at
_DATA = frozenset({Root.NUMBER, Root.OUTSIDE, Root.RANDOM})


@dataclass
class Fault:
    """The operation at fault, and what is wrong with it."""

    visit: Visit
    cause: str


def fault_of_order(update: Visit, found: Trail) -> Fault | None:
    """A line that both ran for the same tensors in one step, in different orders.

    As where each rank takes gradients out of a bucket in an order of its own.
    """
    pairs = list(update.pairs())
    for mine, theirs in (pairs[index] for index in update.differing):
        for one, other in zip(mine.writers, theirs.writers, strict=False):
            if one.key[:-1] != other.key[:-1] or one.key == other.key:
                continue
            if one.place.phase == "forward" and not _backward_between(one, other, found):
                first, second = (a.key.occurrence + 1 for a in (one, other))
                return Fault(
                    Visit(one, other, leads_to=update),
                    f"gives it what comes as number {first:,} on rank {found.ranks[0]} and as number "
                    f"{second:,} on rank {found.ranks[1]}: they go through it in different orders",
                )
    return None


def _backward_between(one: Operation, other: Operation, found: Trail) -> bool:
    """Whether backward ran between the two, on the rank that ran the first: then they are of two steps."""
    counterpart = found.logs[0].get(other.key)
    if counterpart is None:
        return True
    first, last = sorted((one.number, counterpart.number))
    return any(
        operation.place.phase == "backward"
        for operation in found.logs[0].values()
        if first < operation.number < last
    )


def fault_of_rows(found: Trail) -> Fault | None:
    """Where two ranks take different rows that add up parts of one sum: tensor parallel ranks.

    That is a forward operation on a part of a parameter and on rows, none of which came from another rank, whose
    result goes into a sum over both ranks.
    """
    reached = {id(root.operation) for root in found.roots() if root.root in _DATA}
    for operation, other in _on_parts(found) if reached else ():
        pairs = zip(operation.operands, other.operands, strict=False)
        rows = [(a, b) for a, b in pairs if not (a.is_scalar or a.is_parameter)]
        roots = [
            root
            for mine, theirs in rows
            if differs(mine, theirs, found.ranks)
            for root in _roots(mine, theirs, found)
        ]
        if not roots or any(id(root.operation) not in reached for root in roots):
            continue
        total = _sum_of(operation, found)
        if total is None:
            continue
        return Fault(
            min(roots, key=lambda root: root.operation.number),
            f"{rank_names(found.ranks)} take different rows here, and add up parts of one sum at "
            f"{site_of(total.place)}",
        )
    return None


def _on_parts(found: Trail) -> Iterator[tuple[Operation, Operation]]:
    """The first operations of forward that take a parameter of which the two have parts each."""
    operations = (one for one in found.logs[0].values() if one.place.phase == "forward")
    takers = (
        (one, other)
        for one in operations
        if any(operand.is_parameter for operand in one.operands)
        and (other := found.logs[1].get(one.key)) is not None
        and any(
            mine.is_parameter and differs(mine, theirs, found.ranks)
            for mine, theirs in zip(one.operands, other.operands, strict=False)
        )
    )
    return islice(takers, _MOST_TAKERS)


def _roots(mine: Operand, theirs: Operand, found: Trail) -> list[Visit]:
    """Where what the two hold comes from; empty: not recorded, or by way of other ranks."""
    way = trail(found.ranks, (mine.writers, theirs.writers), found.logs)
    return [] if any(visit.operation.kind for visit in way.visits) else way.roots()


def _sum_of(operation: Operation, found: Trail) -> Operation | None:
    """The next sum over both ranks in forward that takes what came of the operation."""
    made = {id(operation)}
    for later in found.logs[0].values():
        if later.number <= operation.number:
            continue
        if later.place.phase != "forward":
            return None
        if not any(id(writer) in made for one in later.operands for writer in one.writers):
            continue
        if later.kind in ("all_reduce", "reduce_scatter") and later.joins(*found.ranks):
            return later
        if later.kind:
            return None
        made.add(id(later))
    return None


def fault_of_meeting(ranks: Sequence[int], found: Trail) -> Fault | None:
    """Where a value that both computed alike meets what each has its own part of: its gradient is a part of a sum."""
    for visit in found.visits:
        forward = visit.operation.forward
        other = None if forward is None else found.logs[1].get(forward.key)
        if forward is None or other is None or visit.operation.is_view:
            continue
        pairs = list(zip(forward.operands, other.operands, strict=False))
        if not any(differs(a, b, found.ranks) for a, b in pairs if not a.is_scalar):
            continue
        alike = next(_computed_alike(pairs, found), None)
        if alike is None:
            return None
        return Fault(
            Visit(forward, other, leads_to=visit),
            f"{alike.name} is the same on {rank_names(ranks)}, and meets what each has its own part of: its gradient "
            f"is a part of a sum, and no collective over {rank_names(ranks)} adds up the parts",
        )
    return None


def _computed_alike(pairs: Sequence[tuple[Operand, Operand]], found: Trail) -> Iterator[Operand]:
    """Operands that the two computed alike: of these a rank has the whole."""
    for mine, theirs in pairs:
        is_computed = any(not writer.is_view for writer in mine.writers) or any(
            not writer.is_view
            for view in mine.writers
            for one in view.operands
            for writer in one.writers
        )
        if (
            is_computed
            and not (mine.is_scalar or mine.is_parameter)
            and not differs(mine, theirs, found.ranks)
        ):
            yield mine
