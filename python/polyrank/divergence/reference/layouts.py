"""How what ranks hold is cut, where it is not one block of the reference's each.

Which parameters are parts that lie apart is said by what they began with; how rows were dealt out, by what
modules give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from polyrank.divergence.reference.pieces import (
    SPLITS,
    Dealing,
    Split,
    allowed_anyway,
    dealings_of,
    families_of,
    match,
)
from polyrank.divergence.reference.tape import INITIAL, Event, Tape, What

__all__ = ["Layouts", "layouts_of"]


_MOST_OUTPUTS = 16  # that are looked at
_TIMES_ALLOWED = 32.0  # an output is looked for, not judged


@dataclass(frozen=True)
class Layouts:
    """How parameters are split, beside those that are one block of the reference's, and rows dealt out."""

    by_name: Mapping[str, Split] = field(default_factory=dict)
    dealings: Sequence[Dealing] = ()

    def splits_of(self, what: What) -> Sequence[Split]:
        """How the value may be split: a parameter as itself, what its module gives along the last dimension."""
        if what.kind in ("gradient", "parameter", INITIAL):
            split = self.by_name.get(what.module)
            return () if split is None else (split,)
        return [
            (-1, count)
            for name, (dim, count) in self.by_name.items()
            if dim == 0 and name.rpartition(".")[0] == what.module
        ]

    def every(self) -> Sequence[Split]:
        """All splits of parameters, and of what their modules give."""
        counts = dict.fromkeys(count for dim, count in self.by_name.values() if dim == 0)
        return [*dict.fromkeys(self.by_name.values()), *((-1, count) for count in counts)]


def layouts_of(program: Tape, reference: Tape) -> Layouts:
    """Of parameters that both have, and that are one block in none of the ways in which shards usually lie."""
    found: dict[str, Split] = {}
    for name, event in program.initial.items():
        known = reference.initial.get(name)
        if known is not None and len(known.pieces) == 1:
            split = _split_of(event, known)
            if split is not None:
                found[name] = split
    # What begins with zeros is any block of zeros: it lies as the rest of its module does.
    modules = {name.rpartition(".")[0]: split for name, split in found.items() if split[0] == 0}
    for name in program.initial:
        split = modules.get(name.rpartition(".")[0])
        if split is not None:
            found.setdefault(name, split)
    return Layouts(found, _dealings(program, reference))


def _dealings(program: Tape, reference: Tape) -> list[Dealing]:
    """How rows were dealt out, as outputs of the first step say that are no block of the reference's."""
    found: list[Dealing] = []
    families = families_of(program.num_ranks)
    outputs = [what for what in reference.events if what.kind == "output" and what.step == 0]
    for what in outputs[:_MOST_OUTPUTS]:
        event, known = program.events.get(what), reference.events[what]
        if event is None or len(known.pieces) > 1 or not families:
            continue
        [whole] = known.pieces.values()
        if any(piece.shape == whole.shape for piece in event.pieces.values()):
            continue  # not rows of it
        enough = _TIMES_ALLOWED * allowed_anyway(whole)
        plain = match(event.pieces, whole, (), dealings=found, enough=enough)
        if plain is None or plain.error <= enough:
            continue
        for dealing in dealings_of(families, whole.dim()):
            dealt = match(event.pieces, whole, (), dealings=[dealing], enough=enough)
            if dealt is not None and dealt.error <= enough:
                found.append(dealing)
                break
    return found


def _split_of(event: Event, known: Event) -> Split | None:
    [whole] = known.pieces.values()
    enough = allowed_anyway(whole)
    plain = match(event.pieces, whole, (), enough=enough)
    if plain is None or plain.error <= enough:
        return None
    for split in SPLITS:
        matched = match(event.pieces, whole, (), splits=[split], enough=enough)
        if matched is not None and matched.error <= enough:
            return split
    return None
