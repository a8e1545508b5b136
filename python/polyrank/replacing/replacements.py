"""The replaced names of a world, switched on and off together."""

from __future__ import annotations

import contextlib
import functools
import importlib
import pkgutil
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType

from polyrank.replacing.place import Place, place_of
from polyrank.replacing.places import Places
from polyrank.replacing.row import Row
from polyrank.replacing.surface import NOT_THERE, differences, warn_of
from polyrank.replacing.when_imported import WhenImported

__all__ = ["Replacements", "Table"]

_lock = threading.RLock()


@dataclass(frozen=True)
class Table:
    """Where rows are.

    Args:
        name: "module:NAME", loaded when the rows are first placed.
        after: the module without which nothing of the table is needed. It takes long to import, as the
            table's own module does, which is therefore left alone until it is loaded; None: at once.
    """

    name: str
    after: str | None = None

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows, whose module is loaded for that.

        After the one that it waits for: else its own import, which imports that, would be in the middle
        as the rows are placed.
        """
        if self.after is not None:
            importlib.import_module(self.after)
        return tuple(pkgutil.resolve_name(self.name))


class Replacements:
    """What one world, or a part of one, replaces in torch; NOTE [Replacing names] tells how.

    They may be entered several times, and are off when all have left. What threads may ask for
    themselves, ours ask at each call.

    Args:
        layer: a position in `replacing.layers`.
        tables: where their rows are.
    """

    def __init__(self, name: str, layer: int, tables: Sequence[Table]) -> None:
        self.name = name
        self.layer = layer
        self._bit = 1 << layer
        self._tables = tables
        self._places: Places | None = None  # None: never entered
        self._num_entered = 0
        self._num_suspended = 0
        self._brought_along: list[Replacements] = []

    @property
    def rows(self) -> tuple[Row, ...]:
        """What is replaced."""
        return tuple(row for table in self._tables for row in table.rows)

    @property
    def is_on(self) -> bool:
        """Whether ours are in place."""
        return self._num_entered > 0 and self._num_suspended == 0

    def prepare(self) -> None:
        """Do now what the first to enter would do once, so that forks of this process share it."""
        with _lock:
            if self._places is None:
                self._places = Places(self._bit)
                self._place(self._places)

    def enter(self) -> None:
        """Put ours in place, if this is the first to enter."""
        with _lock:
            self._num_entered += 1
            if self._num_entered == 1:
                self._switch()
                for more in self._brought_along:
                    more.enter()

    def leave(self) -> None:
        """Put theirs back, if this is the last to leave."""
        with _lock:
            self._num_entered -= 1
            if self._num_entered == 0:
                for more in self._brought_along:
                    more.leave()
                self._switch()

    def bring_along(self, more: Replacements) -> None:
        """From now on let others be on whenever these are."""
        with _lock:
            if more not in self._brought_along:
                self._brought_along.append(more)
                if self._num_entered > 0:
                    more.enter()

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Within this context ours are in place."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def suspend(self) -> None:
        """Put theirs back until resume(), whoever enters."""
        with _lock:
            self._num_suspended += 1
            self._switch()

    def resume(self) -> None:
        """Undo suspend()."""
        with _lock:
            self._num_suspended -= 1
            self._switch()

    def _switch(self) -> None:
        self.prepare()
        assert self._places is not None  # noqa: S101
        self._places.switch(on=self.is_on)

    def _place(self, places: Places) -> None:
        """Place what modules have that are loaded; the others when they are."""
        found: list[Place] = []
        for table in self._tables:
            if table.after is None or table.after in sys.modules:
                found += self._place_table(table)
            else:
                WhenImported(table.after, functools.partial(self._place_table_later, table))
        places.add(found)

    def _place_table(self, table: Table) -> list[Place]:
        rows = table.rows
        by_module: dict[str, list[Row]] = {}
        for row in rows:
            if row.module not in sys.modules:
                by_module.setdefault(row.module, []).append(row)
        for module, later in by_module.items():
            WhenImported(module, functools.partial(self._place_rows_later, later))
        return self._place_rows(row for row in rows if row.module in sys.modules)

    def _place_table_later(self, table: Table, _: ModuleType) -> None:
        pkgutil.resolve_name(table.name)  # imports, which is done without the lock
        with _lock:
            assert self._places is not None  # noqa: S101
            self._places.add(self._place_table(table))

    def _place_rows_later(self, rows: Iterable[Row], _: ModuleType) -> None:
        with _lock:
            assert self._places is not None  # noqa: S101
            self._places.add(self._place_rows(rows))

    def _place_rows(self, rows: Iterable[Row]) -> list[Place]:
        found = [(row, place_of(row)) for row in rows]
        for row, place in found:
            if place is not None:
                place.add(self._bit, row)
        theirs = [(row, NOT_THERE if p is None else p.target.original) for row, p in found]
        warn_of(differences(theirs))
        return [place for _, place in found if place is not None]
