"""Forecasts of several ranks as text and as JSON."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console
from rich.table import Table

from polyrank.forecast.ranks import RankForecast, RanksForecast
from polyrank.forecast.times import Time
from polyrank.forecast.together import LATENESS, Together

__all__ = ["RANKS_SCHEMA_VERSION", "ranks_dict", "ranks_text"]

# Raised when a field changes its meaning or goes; a field that is only added leaves it.
RANKS_SCHEMA_VERSION = 1
_GIB = 2**30
_MILLISECONDS = 1e-6  # a nanosecond's
_WIDTH = 120


def ranks_dict(
    forecast: RanksForecast, together: Together | None, as_they_are: Together | None
) -> dict[str, Any]:
    """The content of the JSON file: each rank's own, and their times together.

    Args:
        forecast: of the ranks.
        together: their times; None: there are none.
        as_they_are: the same without slow ranks; None: none was to be slow.
    """
    return {
        "schema_version": RANKS_SCHEMA_VERSION,
        "ranks": [
            {
                "rank": one.rank,
                "fits": one.fits,
                "exit_code": one.ended.exit_code,
                "failure": one.ended.failure,
                "forecast": one.ended.document,
            }
            for one in forecast.ranks
        ],
        "fits": all(one.fits for one in forecast.ranks),
        "together": None if together is None else together.to_dict(),
        "together_without_slow_ranks": None if as_they_are is None else as_they_are.to_dict(),
    }


def ranks_text(
    forecast: RanksForecast, together: Together | None, as_they_are: Together | None
) -> str:
    """A row of memory for each rank, and one of times; errors in full below."""
    text = io.StringIO()
    console = Console(file=text, width=_WIDTH)
    console.print(_memory(forecast))
    if together is not None:
        console.print(_step(together), highlight=False)
        if as_they_are is not None:
            console.print(_cost(together, as_they_are), highlight=False)
        console.print(_times(together))
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _memory(forecast: RanksForecast) -> Table:
    table = Table(title="memory of each rank")
    for name in ("rank", "allocated", "reserved", "left", "the peak is in"):
        table.add_column(name, justify="left" if name.startswith("the") else "right")
    table.add_column("", overflow="fold")
    for one in forecast.ranks:
        table.add_row(f"{one.rank:,}", *_memory_cells(one))
    return table


def _memory_cells(one: RankForecast) -> list[str]:
    document = one.ended.document
    if document is None:
        return ["", "", "", "", one.ended.failure]
    memory = document["memory"]
    peak = memory["peak"] or {"step": 0, "phase": ""}
    verdict = "fits" if document["fits"] else "does not fit"
    return [
        f"{memory['peak_allocated'] / _GIB:,.2f} GiB",
        f"{memory['peak_reserved'] / _GIB:,.2f} GiB",
        f"{document['headroom'] / _GIB:,.2f} GiB",
        f"step {peak['step']}, {peak['phase']}",
        one.ended.failure or verdict,
    ]


def _step(together: Together) -> str:
    return (
        f"A step of these ranks together takes {together.step_ns * _MILLISECONDS:,.2f} ms. Of it they "
        f"compute nothing for {together.idle:.1%}, {together.bubble:.1%} since another rank is late "
        "(the bubble)."
    )


def _cost(together: Together, as_they_are: Together) -> str:
    ranks = ", ".join(
        f"rank {rank} takes {factor:g} times as long for its kernels"
        for rank, factor in together.slow.items()
    )
    more = together.step_ns / as_they_are.step_ns - 1 if as_they_are.step_ns else 0.0
    return (
        f"That is with {ranks}: without, it is {as_they_are.step_ns * _MILLISECONDS:,.2f} ms "
        f"({more:+.1%})."
    )


def _times(together: Together) -> Table:
    table = Table(title="a step of each rank, in shares of it")
    for name in ("rank", "step", "MFU", "computes", "exposed", "the CPU", "late others"):
        table.add_column(name, justify="right")
    table.add_column("who is late")
    for rank, time in zip(together.ranks, together.times, strict=True):
        table.add_row(f"{rank:,}", *_time_cells(time))
    return table


def _time_cells(time: Time) -> list[str]:
    steady = time.steady

    def share(nanoseconds: int) -> str:
        return f"{nanoseconds / steady.ns:.1%}" if steady.ns else ""

    late = [idle for idle in steady.idle if idle.cause == LATENESS]
    return [
        f"{steady.ns * _MILLISECONDS:,.2f} ms",
        f"{time.mfu:.1%}",
        share(steady.compute_ns),
        share(steady.exposed_ns),
        share(sum(idle.ns for idle in steady.idle if idle.cause == "the CPU")),
        share(Together.late_ns(time)),
        ", ".join(f"{idle.group}: {share(idle.ns)}" for idle in late),
    ]
