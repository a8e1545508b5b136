"""The first operation whose result is not the reference's, of those that made a value that is off."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import torch

from polyrank.divergence.operations import Operand, Operation
from polyrank.divergence.reference.known_values import KnownValues
from polyrank.divergence.reference.layouts import layouts_of
from polyrank.divergence.reference.pieces import Match, families_of
from polyrank.divergence.reference.tape import Tape, What

__all__ = ["Culprit", "find_operation"]


_MOST_BACK = 64  # operations to look back


@dataclass(frozen=True)
class Culprit:
    """An operation whose operands the reference has, and whose result it does not have."""

    operation: Operation
    operands: list[str]  # how each lies in the reference's


def find_operation(what: What, program: Tape, reference: Tape) -> Culprit | None:
    """Go back from the value that is off to where it left the reference; None: nothing was recorded."""
    event = program.events.get(what)
    if event is None or not event.pieces:
        return None
    return _Search(program, reference, set(event.pieces)).run(event.writers[min(event.pieces)])


class _Search:
    def __init__(self, program: Tape, reference: Tape, ranks: AbstractSet[int]) -> None:
        self.program = program
        self.reference = reference
        self.ranks = ranks  # that have the value: on others the same line may run another layer
        layouts = layouts_of(program, reference)
        self.splits, self.dealings = layouts.every(), layouts.dealings
        self.families = families_of(program.num_ranks)
        self.sizes = sorted({float(len(family[0])) for family in self.families})
        # What goes to the ranks of a group in an all-to-all is stacked before and after it.
        has_exchange = any(
            operation.kind == "all_to_all"
            for log in program.logs.values()
            for operation in log.operations.values()
        )
        self.num_stacked = self.sizes if has_exchange else []
        self.known = KnownValues(reference.copies)

    def run(self, writers: Sequence[Operation]) -> Culprit | None:
        """The earliest operation on the way that has only operands of the reference."""
        waiting, seen = [writers], set()
        found: list[Culprit] = []
        while waiting:
            made: list[Culprit] = []
            for operation in waiting.pop():
                if id(operation) in seen:
                    continue
                seen.add(id(operation))
                told, unknown = self._look_at(operation)
                before = [operand.writers for operand in unknown if operand.writers]
                if not before:
                    made.append(Culprit(operation, told))
                waiting += before
            # A view shows what others wrote: they are on the way too. Of several that wrote parts of it,
            # the last made it what it is.
            made = [one for one in made if not one.operation.is_view] or made
            found += sorted(made, key=lambda one: one.operation.number)[-1:]
        makers = [one for one in found if not one.operation.is_view] or found
        earliest = min(makers, key=lambda one: one.operation.number, default=None)
        return earliest and self._before(self._scaled(earliest))

    def _scaled(self, culprit: Culprit) -> Culprit:
        """Where a multiple of the reference's began, if all that the culprit does is hand it on."""
        operation = culprit.operation
        while operation.is_view and operation.place.phase == "backward":
            scaled = [
                (operand, matched.factor)
                for index, operand in enumerate(operation.operands)
                if (matched := self._matched_operand(operation, index)) is not None
                and matched.factor != 1
                and not matched.is_sum
            ]
            if len(scaled) != 1 or len(scaled[0][0].writers) != 1:
                break
            maker = self._maker_of_multiple(*scaled[0])
            if maker is None:
                break
            operation = maker
        return (
            culprit
            if operation is culprit.operation
            else Culprit(operation, self._look_at(operation)[0])
        )

    def _maker_of_multiple(self, operand: Operand, factor: float) -> Operation | None:
        """The operation that gave the multiple, of what is no such multiple."""
        for _ in range(_MOST_BACK):
            if len(operand.writers) != 1:
                return None
            [maker] = operand.writers
            taken = [
                one
                for index, one in enumerate(maker.operands)
                if (matched := self._matched_operand(maker, index)) is not None
                and matched.factor == factor
            ]
            if not taken:
                return maker
            operand = taken[0]
        return None

    def _before(self, culprit: Culprit) -> Culprit:
        """What made an operand of it that is the reference's by chance: not what that line makes there.

        As scores that nothing was masked in are those before the mask.
        """
        for index, operand in enumerate(culprit.operation.operands):
            if len(operand.writers) != 1 or operand.is_written:
                continue
            [maker] = operand.writers
            place = maker.place
            results = self.reference.results.get((maker.name, place.file, place.line))
            if maker.is_view or place.phase != "forward" or not results:
                continue
            there = KnownValues(results)
            pieces = self._pieces(culprit.operation, index, self.ranks)
            if not pieces or self._matched(pieces, there) is not None:
                continue
            told, unknown = self._look_at(maker)
            if not unknown:
                return self._before(Culprit(maker, told))
        return culprit

    def _matched_operand(self, operation: Operation, index: int) -> Match | None:
        """How an operand lies in the reference; None: in no value, or it is no tensor of numbers."""
        pieces = self._pieces(operation, index, self.ranks)
        if not pieces:
            return None
        is_backward = operation.place.phase == "backward"
        matched = self._matched(pieces, self.known, is_backward=is_backward)
        if matched is None and len(self.ranks) < len(self.program.logs):
            # A number that each stage of a pipeline has a part of, say.
            every = self._pieces(operation, index, self.program.logs.keys())
            if len(every) == len(self.program.logs):
                matched = self._matched(every, self.known, is_backward=is_backward)
        return matched

    def _look_at(self, operation: Operation) -> tuple[list[str], list[Operand]]:
        """How operands lie in the reference, and those that do not."""
        told, unknown = [], []
        for index, operand in enumerate(operation.operands):
            if not self._pieces(operation, index, self.ranks):
                continue
            matched = self._matched_operand(operation, index)
            if matched is None:
                unknown.append(operand)
                told.append(f"{operand.name}: not the reference's")
            else:
                times = f" times {matched.factor:g}" if matched.factor != 1 else ""
                told.append(f"{operand.name}: {matched.relation}{times}")
        return told, unknown

    def _pieces(
        self, operation: Operation, index: int, ranks: AbstractSet[int]
    ) -> dict[int, tuple[bytes, torch.Tensor]]:
        """What the operand is on each of the ranks that ran the operation, with its digest; empty: no numbers."""
        pieces = {}
        for rank, log in self.program.logs.items():
            if rank not in ranks:
                continue
            counterpart = log.operations.get(operation.key)
            if counterpart is None or index >= len(counterpart.operands):
                continue
            operand = counterpart.operands[index]
            for share in operand.content or ():
                tensor = share.tensor
                if tensor is None or not share.holds(rank) or not tensor.numel():
                    continue
                if tensor.dtype.is_floating_point:
                    pieces[rank] = (share.digest, tensor)
        return pieces

    def _matched(
        self,
        pieces: dict[int, tuple[bytes, torch.Tensor]],
        known: KnownValues,
        *,
        is_backward: bool = False,
    ) -> Match | None:
        return known.find(
            {rank: tensor for rank, (_, tensor) in pieces.items()},
            {digest for digest, _ in pieces.values()},
            self.families,
            factors=(1.0, *self.sizes) if is_backward else (1.0,),
            sums=(1.0, *self.sizes),
            splits=self.splits,
            dealings=self.dealings,
            num_stacked=self.num_stacked,
        )
