"""The times of a forecast as text, as JSON and as a picture."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.console import Console
from rich.table import Table

from polyrank.forecast.times import StepTime, Time, WorkSum

__all__ = ["modules_over_time", "print_time", "time_dict"]

_MOST_ROWS = 10
_MILLISECONDS = 1e-6  # a nanosecond's
_TERA = 1e12


def time_dict(time: Time) -> dict[str, Any]:
    """For programs; nanoseconds everywhere."""
    steady = time.steady
    return {
        "step_ns": steady.ns,
        "tokens": None if time.tokens is None else dataclasses.asdict(time.tokens),
        "tokens_per_second": time.tokens_per_second,
        "model_flops": steady.model_flops,
        "mfu": time.mfu,
        "hfu": time.hfu,
        "exposed_communication_ns": steady.exposed_ns,
        "peak_flops": time.peak_flops,
        "compared": None if time.compared is None else dataclasses.asdict(time.compared),
        "steps": [dataclasses.asdict(step) for step in time.steps],
        "whole": dataclasses.asdict(time.whole),
    }


def _ms(nanoseconds: float) -> str:
    return f"{nanoseconds * _MILLISECONDS:,.2f} ms"


def print_time(time: Time, console: Console) -> None:
    """The step, what it was spent with, and who had the most of it."""
    steady = time.steady
    console.print(_totals(time))
    console.print(_compared(time), highlight=False)
    if steady.by_group:
        console.print(_groups(steady))
    console.print(_sums("by operator", steady.by_operator))
    console.print(_sums("by module", steady.by_module))


def _totals(time: Time) -> Table:
    steady = time.steady
    what = f"step {steady.step}" if steady.step else "the whole run, which has no step"
    table = Table(title=f"time: {what}", show_header=False)
    table.add_column("what")
    table.add_column("time", justify="right")

    def add(name: str, nanoseconds: int) -> None:
        share = nanoseconds / steady.ns if steady.ns else 0.0
        table.add_row(name, f"{_ms(nanoseconds)}, {share:6.1%}")

    table.add_row("from end to end", _ms(steady.ns))
    if time.tokens is not None and time.tokens_per_second is not None:
        table.add_row(f"tokens, {time.tokens.source}", f"{time.tokens.count:,}")
        table.add_row("tokens a second, of this rank", f"{time.tokens_per_second:,.0f}")
    if steady.ns:
        table.add_row(
            "the model's FLOPs, and their share of the peak (MFU)",
            f"{steady.model_flops / steady.seconds / _TERA:,.1f} TFLOP/s, {time.mfu:6.1%}",
        )
        table.add_row(
            "all FLOPs, what is computed twice included (HFU)",
            f"{steady.flops / steady.seconds / _TERA:,.1f} TFLOP/s, {time.hfu:6.1%}",
        )
    add("computing", steady.compute_ns)
    add("what is computed, at the GPU's peaks", round(steady.roofline_ns))
    add("of that, kernels are slowed by communication beside them", steady.slowed_ns)
    add("communicating", steady.communication_ns)
    add("communicating, and nothing computes (exposed)", steady.exposed_ns)
    add("the CPU works for it, perhaps before", steady.host_busy_ns)
    for idle in steady.idle:
        name = f"{idle.cause} of {idle.group}" if idle.group else idle.cause
        add(f"nothing computes, for it waits for {name}", idle.ns)
    return table


def _compared(time: Time) -> str:
    if time.compared is None:
        return "No measured run on this GPU was compared with its forecast yet."
    return time.compared.sentence("The speed")


def _groups(step: StepTime) -> Table:
    table = Table(title="communication by group")
    for name in ("group", "launches", "time", "exposed"):
        table.add_column(name, justify="left" if name == "group" else "right")
    for name, total in step.by_group.items():
        table.add_row(name, f"{total.count:,}", _ms(total.communication_ns), _ms(total.exposed_ns))
    return table


def _sums(title: str, sums: dict[str, WorkSum]) -> Table:
    table = Table(title=title)
    for name in ("which", "launches", "time", "exposed", "TFLOP/s"):
        table.add_column(name, justify="left" if name == "which" else "right")
    rows = list(sums.items())
    for name, total in rows[:_MOST_ROWS]:
        nanoseconds = total.compute_ns + total.communication_ns
        speed = total.flops / nanoseconds / (_TERA * 1e-9) if nanoseconds else 0.0
        table.add_row(
            name or "(none)",
            f"{total.count:,}",
            _ms(nanoseconds),
            _ms(total.exposed_ns) if total.communication_ns else "",
            f"{speed:,.0f}" if total.flops else "",
        )
    if rest := rows[_MOST_ROWS:]:
        nanoseconds = sum(total.compute_ns + total.communication_ns for _, total in rest)
        launches = sum(total.count for _, total in rest)
        table.add_row(f"{len(rest):,} others", f"{launches:,}", _ms(nanoseconds), "", "")
    return table


def modules_over_time(time: Time, most: int = 60) -> Any:
    """A bar for each module: what it computes, and its communication that nothing covers."""
    from plotly import graph_objects

    modules = list(time.steady.by_module.items())[:most]
    names = [name or "(no module)" for name, _ in modules]
    figure = graph_objects.Figure()
    for title, values in (
        ("computing", [total.compute_ns for _, total in modules]),
        ("exposed communication", [total.exposed_ns for _, total in modules]),
    ):
        figure.add_bar(
            name=title, x=names, y=[nanoseconds * _MILLISECONDS for nanoseconds in values]
        )
    figure.update_layout(
        title="A step's time by module", barmode="stack", yaxis_title="ms", hovermode="x unified"
    )
    return figure
