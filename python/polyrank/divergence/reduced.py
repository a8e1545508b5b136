"""The collective that a value which ranks hold alike came out of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from polyrank.divergence.operations import Operand, Operation

__all__ = ["reduced_before", "reducing_collective", "written_by"]

_JOINING = frozenset({"all_reduce", "all_gather", "broadcast"})
_MOST_BACK = 64  # operations to look back


def reducing_collective(writers: Sequence[Operation], ranks: tuple[int, int]) -> Operation | None:
    """The nearest collective that joins the ranks, of those that made what `writers` wrote.

    Not by way of what the backward of an operation or an optimizer computed: gradients of the next layer,
    and states, which earlier steps made, came out of collectives too.
    """

    def made_of(operation: Operation) -> list[Operand]:
        is_computed = operation.made_by is not None or operation.place.phase == "optimizer"
        if is_computed and not operation.kind:
            return []
        return [operand for operand in operation.operands if not operand.is_parameter]

    return _nearest_joining(writers, ranks, made_of)


def reduced_before(writers: Sequence[Operation], ranks: tuple[int, int]) -> Operation | None:
    """The collective that made the ranks hold it alike, of which the writers left a part each time.

    None: none did, or backward has added to it since.
    """

    def left_of(operation: Operation) -> list[Operand]:
        if operation.kind or operation.place.phase == "backward":
            return []
        return [one for one in operation.operands if one.is_written or operation.is_view]

    return _nearest_joining(writers, ranks, left_of)


def _nearest_joining(
    writers: Sequence[Operation],
    ranks: tuple[int, int],
    came_from: Callable[[Operation], list[Operand]],
) -> Operation | None:
    """The nearest collective that joins the ranks, back from the writers along operands that `came_from` names."""
    waiting = list(writers)
    seen: set[int] = set()
    while waiting and len(seen) < _MOST_BACK:
        operation = waiting.pop(0)
        if id(operation) in seen:
            continue
        seen.add(id(operation))
        if operation.kind in _JOINING and operation.joins(*ranks):
            return operation
        for operand in came_from(operation):
            waiting += operand.writers
    return None


def written_by(writers: Sequence[Operation]) -> list[Operation]:
    """The writers without views: of a view that was made after the last write, who wrote what it shows."""
    written = [one for one in writers if not one.is_view]
    return written or [
        before
        for view in writers
        for operand in view.operands
        for before in written_by(operand.writers)
    ]
