"""Records every collective that a program launches."""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from polyrank import _C
from polyrank.recording.module_paths import named_modules_run

__all__ = ["Trace", "trace"]


class Trace:
    """The collectives of one `polyrank.trace()` block, also while the block still runs.

    `len(t)` is the number of launches.
    """

    def __init__(self, *, source: bool) -> None:
        self._trace = _C.CollectiveTrace(with_source=source)

    def __len__(self) -> int:
        return len(self._trace)

    @property
    def launches(self) -> list[dict[str, Any]]:
        """One dict for each launch, in order: the fields of the JSON form, with `group` as a dict."""
        document = json.loads(self.to_json())
        groups = document["groups"]
        launches: list[dict[str, Any]] = document["launches"]
        for launch in launches:
            launch["group"] = groups[launch["group"]]
        return launches

    def summary(self) -> str:
        """A table by kind, group, module and phase, as text; bytes are of one rank."""
        from rich.console import Console  # takes long to import, which most runs can do without
        from rich.table import Table

        table = Table(title=f"{len(self):,} collectives")
        for name in ("module", "phase", "kind", "group"):
            table.add_column(name)
        for name in ("count", "payload bytes", "wire bytes"):
            table.add_column(name, justify="right")
        for names, numbers in self.totals().items():
            table.add_row(*names, *(f"{number:,}" for number in numbers))
        text = io.StringIO()
        # As wide as it takes: a table that is cut off in a pipe is of no use.
        console = Console(file=text, width=10_000)
        console.print(table, markup=False)
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"

    def totals(self) -> dict[tuple[str, ...], tuple[int, int, int]]:
        """Launches, payload and wire bytes by module, phase, kind and group's label, in order."""
        rows: dict[tuple[str, ...], Counter[str]] = {}
        for launch in self.launches:
            key = (launch["module"], launch["phase"], launch["kind"], launch["group"]["label"])
            row = rows.setdefault(key, Counter())
            row["count"] += 1
            row["payload"] += launch["payload_bytes"]
            row["wire"] += launch["wire_bytes"]
        return {key: (row["count"], row["payload"], row["wire"]) for key, row in rows.items()}

    def _repr_html_(self) -> str:
        from polyrank.output.html_repr import trace_html

        return trace_html(self)

    def to_json(self, path: str | Path | None = None) -> str:
        """All launches as JSON; docs/trace.md describes each field. Also writes it to `path`."""
        return _written(self._trace.to_json(), path)

    def to_chrome_trace(self, path: str | Path | None = None) -> str:
        """All launches as Chrome's trace events, for https://ui.perfetto.dev. Also writes it to
        `path`.

        Each set of ranks that launched the same collectives has a row. Times are those of this
        process, not a network's.
        """
        return _written(self._trace.to_chrome_trace(), path)


@contextlib.contextmanager
def trace(*, source: bool = True) -> Iterator[Trace]:
    """Record every collective and point-to-point that is launched in the block, in any world.

    Ranks that are processes of `run_ranks` launch in their own, which refuses to start in a trace.
    Open one in the function that they run.

    Args:
        source: look for the line of the program that launches, which costs a walk over the
            Python frames.

    Example:
        with polyrank.trace() as t:
            loss = model(x).sum()
            loss.backward()
        print(t.summary())
        t.to_chrome_trace("step.json")
    """
    import torch.distributed._functional_collectives  # noqa: F401  registers operators to watch

    recorded = Trace(source=source)
    recorded._trace.start()
    try:
        with named_modules_run():
            yield recorded
    finally:
        recorded._trace.stop()


def _written(text: str, path: str | Path | None) -> str:
    if path is not None:
        Path(path).write_text(text + "\n")
    return text
