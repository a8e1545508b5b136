"""Runs a program at two parallelisms, and compares what it computes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from polyrank.divergence.checking import output_dropped
from polyrank.divergence.order.losses import told_of_backward
from polyrank.divergence.reference.compare import (
    Comparison,
    Difference,
    compare,
    loss_that_is_off,
)
from polyrank.divergence.reference.report import CheckedReference
from polyrank.divergence.reference.rounding import in_double, in_pieces
from polyrank.divergence.reference.search import Culprit, find_operation
from polyrank.divergence.reference.tape import Tape, Until, What
from polyrank.errors import UsageError
from polyrank.world import find_world
from polyrank.worlds.outcome import Outcome
from polyrank.worlds.run_options import RunOptions

__all__ = ["check_reference"]

_Mode = Callable[[], AbstractContextManager[object]]


def check_reference(program: RunOptions, reference: RunOptions) -> CheckedReference:
    """Run the program and its reference, and say where the first leaves the second.

    NOTE [Further runs]
    Only where a value is off by more than some units in its last place the reference runs again, with its
    operators computed in other ways, to know what rounding may do; in the first of them all values that
    operators take are kept. The second way is not asked for what is off by far. Where rounding does less, the program runs once more, up to the value that is
    off, with its operators recorded: what they take is looked for among those values. Each of these runs
    ends after the optimizer step in question, as if the program had called `sys.exit()`. What they print
    is dropped.

    Raises:
        UsageError: the reference has another number of ranks than 1 or the program's.
    """
    if reference.world_size not in (1, program.world_size):
        raise UsageError(
            f"a reference of {reference.world_size} ranks can't be paired with {program.world_size}: "
            "let it have 1 rank, whose tensors are whole, or as many, to be paired rank by rank"
        )
    known = Tape()
    reference_outcome = _run(reference, known)
    tape = Tape(known=known.names_by_content())
    outcome = _run(program, tape)
    if outcome.exit_code or reference_outcome.exit_code:
        return CheckedReference(outcome, reference_outcome, Comparison(), None)
    ways: list[_Mode] = [in_double, lambda: in_pieces(max(program.world_size, 2))]
    rounded = _RoundedRuns(reference, ways)
    comparison = compare(tape, known, rounded)
    bug = comparison.bug
    culprit = None
    if bug is not None:
        loss = loss_that_is_off(bug, tape, known)
        culprit = _culprit_of(bug, loss, program, tape, rounded.values)
    return CheckedReference(outcome, reference_outcome, comparison, culprit)


class _RoundedRuns:
    """Runs of the reference in other ways, as they are asked for."""

    def __init__(self, reference: RunOptions, ways: list[_Mode]) -> None:
        self.reference = reference
        self.ways = ways
        self.tapes: dict[int, tuple[float, Tape]] = {}  # by way, with the last step

    @property
    def values(self) -> Tape:
        """What the run in the first way kept."""
        return self.tapes[0][1]

    def up_to(self, step: int) -> Iterator[Tape]:
        """Once up to the step that is asked for first; where others follow, up to the program's end."""
        for number, way in enumerate(self.ways):
            last, tape = self.tapes.get(number, (-math.inf, Tape()))
            if last < step:
                is_first = last == -math.inf
                keeps = "" if number else "values"
                tape = Tape(keeps, Until(step) if is_first else None)
                with output_dropped():
                    _run(self.reference, tape, way)
                self.tapes[number] = (step if is_first else math.inf, tape)
            yield tape


def _culprit_of(
    bug: Difference, loss: What | None, program: RunOptions, tape: Tape, known: Tape
) -> Culprit | None:
    ranks = set(tape.events[bug.what].pieces)
    recorded = Tape("operations", Until(bug.what.step, bug.what, ranks), known=tape.known)
    with output_dropped():
        _run(program, recorded)
    found = None if loss is None else find_operation(loss, recorded, known)
    return found or find_operation(bug.what, recorded, known)


def _run(options: RunOptions, tape: Tape, mode: _Mode = nullcontext) -> Outcome:
    @contextlib.contextmanager
    def around() -> Iterator[None]:
        with mode(), tape.recording():  # what the tape keeps is what the program's operators take
            yield

    with told_of_backward(tape):
        return find_world(options.world).run(replace(options, around=around))
