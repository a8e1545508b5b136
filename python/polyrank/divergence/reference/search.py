"""The first operation whose result is not the reference's, of those that made a value that is off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from polyrank.divergence.operations import Operand, Operation
from polyrank.divergence.reference.compare import Difference, groups_of_ranks
from polyrank.divergence.reference.pieces import Match, largest_of, match
from polyrank.divergence.reference.tape import Tape

__all__ = ["Culprit", "find_operation"]

_MOST_TRIED = 20_000  # tensors of the reference, for one operand
_UNITS = 256.0  # in the last place of the largest element: operands are looked for, not judged


@dataclass(frozen=True)
class Culprit:
    """An operation whose operands the reference has, and whose result it does not have."""

    operation: Operation
    operands: list[str]  # how each lies in the reference's


def find_operation(difference: Difference, program: Tape, reference: Tape) -> Culprit | None:
    """Go back from the value that is off to where it left the reference; None: nothing was recorded."""
    event = program.events.get(difference.what)
    if event is None or not event.pieces:
        return None
    return _Search(program, reference).run(event.writers[min(event.pieces)])


class _Search:
    def __init__(self, program: Tape, reference: Tape) -> None:
        self.program = program
        self.groups = groups_of_ranks(program.num_ranks)
        self.sizes = sorted({float(len(group)) for group in self.groups})
        self.known = list(_values_of(reference))
        self.rank = min(program.logs)

    def run(self, writers: Sequence[Operation]) -> Culprit | None:
        """The earliest operation on the way that has only operands of the reference."""
        waiting, seen = list(writers), set()
        found: list[Culprit] = []
        while waiting:
            operation = waiting.pop()
            if id(operation) in seen:
                continue
            seen.add(id(operation))
            told, unknown = self._look_at(operation)
            before = [writer for operand in unknown for writer in operand.writers]
            if not before:
                found.append(Culprit(operation, told))
            waiting += before
        # A view shows what others wrote: they are on the way too.
        makers = [one for one in found if not one.operation.is_view] or found
        return min(makers, key=lambda one: one.operation.number, default=None)

    def _look_at(self, operation: Operation) -> tuple[list[str], list[Operand]]:
        """How operands lie in the reference, and those that do not."""
        told, unknown = [], []
        for index, operand in enumerate(operation.operands):
            pieces = self._pieces(operation, index)
            if pieces is None:
                continue
            is_backward = operation.place.phase == "backward"
            matched = self._matched(pieces, is_backward=is_backward)
            if matched is None:
                unknown.append(operand)
                told.append(f"{operand.name}: not the reference's")
            else:
                times = f" times {matched.factor:g}" if matched.factor != 1 else ""
                told.append(f"{operand.name}: {matched.relation}{times}")
        return told, unknown

    def _pieces(self, operation: Operation, index: int) -> dict[int, torch.Tensor] | None:
        """What the operand is on each rank that ran the operation; None: no tensor of numbers."""
        pieces = {}
        for rank, log in self.program.logs.items():
            counterpart = log.operations.get(operation.key)
            if counterpart is None or index >= len(counterpart.operands):
                continue
            operand = counterpart.operands[index]
            for share in operand.content or ():
                tensor = share.tensor
                if share.holds(rank) and tensor is not None and tensor.dtype.is_floating_point:
                    pieces[rank] = tensor
        return pieces or None

    def _matched(self, pieces: dict[int, torch.Tensor], *, is_backward: bool) -> Match | None:
        factors = (1.0, *self.sizes) if is_backward else (1.0,)
        for known in self.known[:_MOST_TRIED]:
            if known.dim() != next(iter(pieces.values())).dim():
                continue
            matched = match(pieces, known, self.groups, factors=factors, sums=(1.0, *self.sizes))
            if matched is not None and matched.error <= _allowed(known):
                return matched
        return None


def _allowed(known: torch.Tensor) -> float:
    return _UNITS * largest_of(known) * torch.finfo(known.dtype).eps


def _values_of(reference: Tape) -> Iterator[torch.Tensor]:
    """Every tensor of numbers that the reference's operations took, and what its modules gave."""
    seen: set[bytes] = set()
    for log in reference.logs.values():
        for operation in log.operations.values():
            for operand in operation.operands:
                for share in operand.content or ():
                    tensor = share.tensor
                    if tensor is None or not tensor.dtype.is_floating_point or share.digest in seen:
                        continue
                    seen.add(share.digest)
                    yield tensor
    for event in reference.events.values():
        yield from (piece for piece in event.pieces.values() if piece.dtype.is_floating_point)
