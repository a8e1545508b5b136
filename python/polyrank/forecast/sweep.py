"""Forecasts of one script with many settings, side by side: which configuration is the fastest that
fits.

Each setting is a process of its own (process.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from polyrank.errors import UsageError
from polyrank.forecast.process import run_forecast
from polyrank.output.html_page import page_text
from polyrank.output.resumable import read_kept, run_parts

__all__ = [
    "SWEEP_SCHEMA_VERSION",
    "Result",
    "Sweep",
    "ordered",
    "parse_variations",
    "sweep_page",
    "sweep_table",
]

SWEEP_SCHEMA_VERSION = 1
_GIB = 2**30

Setting = dict[str, str]


@dataclass(frozen=True)
class Result:
    """What came out of one setting."""

    setting: Setting
    fits: bool
    step_ns: int | None  # None: there is no forecast
    mfu: float | None
    exposed_ns: int | None
    peak_reserved: int | None  # bytes
    failure: str  # the last line of the error; empty: the script ran, or ran out of memory


def parse_variations(texts: Sequence[str]) -> dict[str, list[str]]:
    """`["tp=1,2", "batch=4"]` as names and values.

    Raises:
        UsageError: one is not of that form, or a name or a value comes twice.
    """
    variations: dict[str, list[str]] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        values = rest.split(",")
        if not name or not equals or not all(values):
            raise UsageError(f"{text!r} is not of the form NAME=VALUE,VALUE,…")
        if name in variations:
            raise UsageError(f"{name} is varied twice")
        if len(set(values)) < len(values):
            raise UsageError(f"{text!r} has a value twice")
        variations[name] = values
    return variations


@dataclass(frozen=True)
class Sweep:
    """What is varied, and what each forecast is called with."""

    options: tuple[str, ...]  # of `polyrank forecast`, before the script
    script: str
    arguments: tuple[str, ...]
    variations: dict[str, list[str]]

    def settings(self) -> Iterator[Setting]:
        """All combinations."""
        for values in itertools.product(*self.variations.values()):
            yield dict(zip(self.variations, values, strict=True))

    def program(self, setting: Setting) -> list[str]:
        """The script and its arguments with one setting. `{name}` in an argument is its value; what no argument names is
        added as `--name=value`.
        """
        arguments = []
        named = set()
        for argument in self.arguments:
            text = argument
            for name, value in setting.items():
                if f"{{{name}}}" in text:
                    named.add(name)
                    text = text.replace(f"{{{name}}}", value)
            arguments.append(text)
        arguments += [f"--{name}={value}" for name, value in setting.items() if name not in named]
        return [self.script, *arguments]

    def identity(self) -> dict[str, Any]:
        """What results that are kept must be of."""
        return {
            "options": list(self.options),
            "script": self.script,
            "arguments": list(self.arguments),
            "varied": list(self.variations),
        }

    def run(self, setting: Setting) -> Result:
        """Forecast one setting."""
        ended = run_forecast([*self.options, "--time"], self.program(setting))
        told = ended.document
        if told is None or ended.failure:
            return Result(setting, False, None, None, None, None, ended.failure)
        time = told["time"]
        # What ran out of memory has no step that counts.
        has_step = told["memory"]["num_ooms"] == 0
        return Result(
            setting=setting,
            fits=told["fits"],
            step_ns=time["step_ns"] if has_step else None,
            mfu=time["mfu"] if has_step else None,
            exposed_ns=time["exposed_communication_ns"] if has_step else None,
            peak_reserved=told["memory"]["peak_reserved"],
            failure="",
        )

    def run_all(
        self, jobs: int, known: Sequence[Result], finished: Callable[[Result], None]
    ) -> list[Result]:
        """Forecast what is not known, `jobs` at once; calls `finished` for each, one at a time."""
        left = [
            setting
            for setting in self.settings()
            if not any(result.setting == setting for result in known)
        ]
        return [*known, *run_parts(left, self.run, finished, jobs=jobs)]

    def read(self, file: Path) -> list[Result]:
        """Results that an earlier, perhaps interrupted sweep left in the file; none if it is not there.

        Raises:
            UsageError: it holds something else, or results of another sweep.
        """
        rows = read_kept(file, "sweep", self.identity(), SWEEP_SCHEMA_VERSION)
        try:
            known = [Result(**row) for row in rows]
        except TypeError as error:
            raise UsageError(f"{file} holds no results of a sweep: name another file") from error
        settings = list(self.settings())
        return [result for result in known if result.setting in settings]

    def document(self, results: Sequence[Result]) -> dict[str, Any]:
        """What read() reads, and other programs."""
        return {
            "schema_version": SWEEP_SCHEMA_VERSION,
            "sweep": self.identity(),
            "results": [asdict(result) for result in ordered(results)],
        }


def ordered(results: Sequence[Result]) -> list[Result]:
    """The fastest that fits first; then what does not fit, and what failed."""

    def rank(result: Result) -> tuple[bool, bool, float]:
        return (bool(result.failure), not result.fits, -(result.mfu or 0.0))

    return sorted(results, key=rank)


def sweep_table(results: Sequence[Result], console: Console) -> None:
    """All results; the first row is the best that fits."""
    names = list(results[0].setting) if results else []
    table = Table(title="Forecasts, the highest MFU that fits first")
    for name in names:
        table.add_column(name)
    for name in ("step", "MFU", "exposed", "reserved", ""):
        table.add_column(name, justify="left" if not name else "right", overflow="fold")
    for result in ordered(results):
        table.add_row(*result.setting.values(), *_cells(result))
    console.print(table)


def _cells(result: Result) -> list[str]:
    def ms(nanoseconds: int | None) -> str:
        return "" if nanoseconds is None else f"{nanoseconds * 1e-6:,.1f} ms"

    return [
        ms(result.step_ns),
        "" if result.mfu is None else f"{result.mfu:.1%}",
        ms(result.exposed_ns),
        "" if result.peak_reserved is None else f"{result.peak_reserved / _GIB:,.2f} GiB",
        result.failure or ("fits" if result.fits else "does not fit"),
    ]


def sweep_page(results: Sequence[Result], title: str) -> str:
    """MFU against memory as one HTML file that opens without a network."""
    from plotly import graph_objects

    figure = graph_objects.Figure()
    for name, fits in (("fits", True), ("does not fit", False)):
        shown = [one for one in results if one.mfu is not None and one.fits == fits]
        figure.add_scatter(
            name=name,
            mode="markers",
            x=[(one.peak_reserved or 0) / _GIB for one in shown],
            y=[one.mfu for one in shown],
            text=[
                ", ".join(f"{key}={value}" for key, value in one.setting.items()) for one in shown
            ],
            hovertemplate="%{text}<br>%{x:.2f} GiB, MFU %{y:.1%}<extra></extra>",
        )
    figure.update_layout(title=title, xaxis_title="GiB reserved", yaxis_title="MFU")
    return page_text(title, [figure], "")
