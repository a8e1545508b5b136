"""The collective that a value which ranks hold alike came out of."""

from __future__ import annotations

from collections.abc import Sequence

from polyrank.divergence.operations import Operation

__all__ = ["reduced_before", "reducing_collective", "written_by"]

_JOINING = frozenset({"all_reduce", "all_gather", "broadcast"})
_MOST_BACK = 64  # operations to look back


def reducing_collective(writers: Sequence[Operation], ranks: tuple[int, int]) -> Operation | None:
    """The nearest collective that joins the ranks, of those that made what `writers` wrote.

    Not by way of what the backward of an operation or an optimizer computed: gradients of the next layer,
    and states, which earlier steps made, came out of collectives too.
    """
    waiting = list(writers)
    seen: set[int] = set()
    while waiting and len(seen) < _MOST_BACK:
        operation = waiting.pop(0)
        if id(operation) in seen:
            continue
        seen.add(id(operation))
        if operation.kind in _JOINING and operation.joins(*ranks):
            return operation
        is_computed = operation.made_by is not None or operation.place.phase == "optimizer"
        if operation.kind or not is_computed:
            for operand in operation.operands:
                if not operand.is_parameter:
                    waiting += operand.writers
    return None


def reduced_before(writers: Sequence[Operation], ranks: tuple[int, int]) -> Operation | None:
    """The collective that made the ranks hold it alike, of which the writers left a part each time.

    None: none did, or backward has added to it since.
    """
    waiting = list(writers)
    seen: set[int] = set()
    while waiting and len(seen) < _MOST_BACK:
        operation = waiting.pop(0)
        if id(operation) in seen:
            continue
        seen.add(id(operation))
        if operation.kind in _JOINING and operation.joins(*ranks):
            return operation
        if operation.kind or operation.place.phase == "backward":
            continue
        for operand in operation.operands:
            if operand.is_written or operation.is_view:
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
