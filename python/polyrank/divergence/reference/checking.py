"""Runs a program at two parallelisms, and compares what it computes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from polyrank.divergence.checking import output_dropped
from polyrank.divergence.reference.compare import Comparison, compare
from polyrank.divergence.reference.report import CheckedReference
from polyrank.divergence.reference.rounding import InDouble, InPieces
from polyrank.divergence.reference.search import find_operation
from polyrank.divergence.reference.tape import Tape
from polyrank.errors import UsageError
from polyrank.world import find_world
from polyrank.worlds.outcome import Outcome
from polyrank.worlds.run_options import RunOptions

__all__ = ["check_reference"]


def check_reference(program: RunOptions, reference: RunOptions) -> CheckedReference:
    """Run the program and its reference, and say where the first leaves the second.

    The reference runs twice more, with its operators computed in other ways, to know what rounding may
    do; and where something is off, both run once more with every operator recorded. What the runs after
    the first two print is dropped.

    Raises:
        UsageError: the reference has another number of ranks than 1 or the program's.
    """
    if reference.world_size not in (1, program.world_size):
        raise UsageError(
            f"a reference of {reference.world_size} ranks can't be paired with {program.world_size}: "
            "let it have 1 rank, whose tensors are whole, or as many, to be paired rank by rank"
        )
    tape, known = Tape(), Tape()
    outcome = _run(program, tape)
    reference_outcome = _run(reference, known)
    if outcome.exit_code or reference_outcome.exit_code:
        return CheckedReference(outcome, reference_outcome, Comparison(), None)
    with output_dropped():
        rounded = [Tape(), Tape()]
        _run(reference, rounded[0], InDouble)
        _run(reference, rounded[1], lambda: InPieces(max(program.world_size, 2)))
    comparison = compare(tape, known, rounded)
    culprit = None
    if comparison.bug is not None:
        tape, known = Tape(keeps_operations=True), Tape(keeps_operations=True)
        with output_dropped():
            _run(program, tape)
            _run(reference, known)
        culprit = find_operation(comparison.bug, tape, known)
    return CheckedReference(outcome, reference_outcome, comparison, culprit)


def _run(
    options: RunOptions,
    tape: Tape,
    mode: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Outcome:
    @contextlib.contextmanager
    def around() -> Iterator[None]:
        with tape.recording(), mode():
            yield

    return find_world(options.world).run(replace(options, around=around))
