"""What is told of random streams that part: the draw that only one rank made, and who took it for everyone's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from polyrank.any_world.rank_names import rank_names
from polyrank.divergence.blame import differs
from polyrank.divergence.finding import Finding, Site, held_by_ranks, site_of
from polyrank.divergence.operations import Key, Operand, Operation
from polyrank.divergence.streams import CPU_STREAM, parting_of
from polyrank.divergence.verdict import Case

__all__ = ["declared_stream_finding", "drawn_in_parts", "joined_stream_finding", "stream_finding"]

_Logs = tuple[Mapping[Key, Operation], Mapping[Key, Operation]]


def stream_finding(case: Case, streams: tuple[Operand, Operand]) -> Finding | None:
    """Of two streams that were the same; None: the program seeded them differently since."""
    parting = parting_of(streams, case.logs, case.pair)
    if parting is None:
        return None
    return Finding(
        subject=case.subject,
        ranks=case.ranks,
        operation=parting.operation.name,
        site=site_of(parting.operation.place),
        cause=parting.cause(case.pair),
        held=held_by_ranks(case.contents),
        when=case.when,
    )


def declared_stream_finding(
    case: Case, streams: tuple[Operand, Operand], declared_at: Site
) -> Finding:
    """Of two streams that the program says are the same."""
    found = stream_finding(case, streams)
    if found is not None:
        return found
    drawn = [one for stream in streams for one in stream.writers]
    return Finding(
        subject=case.subject,
        ranks=case.ranks,
        operation="not an operator",
        site=site_of(drawn[0].place) if drawn else declared_at,
        cause=f"{rank_names(case.pair)} were seeded differently before this line",
        held=held_by_ranks(case.contents),
        when=case.when,
    )


def joined_stream_finding(case: Case) -> Finding | None:
    """Of two streams that were different and are the same; None: nothing was drawn since they are.

    A program that seeds each rank differently, for dropout say, and all alike later on.
    """
    before: Operation | None = None  # the last draw of different streams
    first: Operation | None = None  # the first one since
    for key, mine in case.logs[0].items():
        theirs = case.logs[1].get(key)
        if theirs is None or mine.stream is None or theirs.stream is None:
            continue
        if mine.stream.name != CPU_STREAM:
            continue
        if differs(mine.stream, theirs.stream, case.pair):
            before, first = mine, None
        elif first is None:
            first = mine
    if before is None or first is None:
        return None
    return Finding(
        subject=case.subject,
        ranks=case.ranks,
        operation=first.name,
        site=site_of(first.place),
        cause=(
            f"{rank_names(case.ranks)} draw the same from here on, and drew differently up to {before.name} "
            f"at {site_of(before.place)}: their streams were seeded alike in between"
        ),
        held=held_by_ranks(case.contents),
        when=case.when,
    )


def drawn_in_parts(drift: Finding, pair: tuple[int, int], logs: _Logs) -> Finding | None:
    """The drift as a fault, if ranks draw the same of streams that part and each takes its own part of it.

    As where all ranks shuffle all samples, and each takes every fourth: they rely on one order.
    """
    for operation in logs[0].values():
        other = logs[1].get(operation.key)
        if other is None:
            continue
        pairs = list(zip(operation.operands, other.operands, strict=False))
        if not any(a.is_scalar and differs(a, b, pair) for a, b in pairs):
            continue
        for mine, theirs in pairs:
            draw = _draw_of(mine)
            if draw is None or not differs(mine, theirs, pair):
                continue
            its = _draw_of(theirs)
            if its is None or its.key != draw.key or its.stream is None or draw.stream is None:
                continue
            if differs(draw.stream, its.stream, pair):
                taken = site_of(operation.place)
                cause = (
                    f"{drift.cause}; {draw.name} at {site_of(draw.place)} draws what each rank takes its own "
                    f"part of at {taken}, as if all had drawn the same"
                )
                return replace(drift, cause=cause)
    return None


def _draw_of(operand: Operand) -> Operation | None:
    return next((one for one in operand.writers if one.stream is not None), None)
