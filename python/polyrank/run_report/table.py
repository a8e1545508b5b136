"""Launches as a table of text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from polyrank.run_report.recorded import Launch

__all__ = ["table_text"]

_HEAD = ("module", "phase", "kind", "group", "launches", "bytes on the wire, all ranks")
_NUMBERS = 2  # columns, at the end


def table_text(launches: Sequence[Launch]) -> str:
    """A row for each module, phase, kind and group, in the order of their first launch."""
    counts: Counter[tuple[str, ...]] = Counter()
    sizes: Counter[tuple[str, ...]] = Counter()
    for one in launches:
        key = one.module, one.phase, one.kind, one.group
        counts[key] += 1
        sizes[key] += one.wire_bytes * one.num_ranks
    rows = [_HEAD, *((*key, f"{counts[key]:,}", f"{sizes[key]:,}") for key in counts)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    return "".join(_line(row, widths) for row in rows)


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    texts = len(row) - _NUMBERS
    cells = [cell.ljust(width) for cell, width in zip(row[:texts], widths[:texts], strict=True)]
    cells += [cell.rjust(width) for cell, width in zip(row[texts:], widths[texts:], strict=True)]
    return "  ".join(cells).rstrip() + "\n"
