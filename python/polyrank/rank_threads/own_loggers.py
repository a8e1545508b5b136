"""Loggers that were there before ranks ran, which modules that ranks share hold: set by each rank for itself.

`logging.getLogger("torch").setLevel(…)` and `torch._logging.set_logs` say what one process logs. From the
first call of a rank that sets such a logger on, what it is set to changes hands with the turn.

Ranks have registries of loggers of their own, which begin as copies. A logger that a module makes which
ranks share is in all of them, and in the process's: torch keeps a list of those that its modules made.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from typing import Any

from polyrank import _C
from polyrank.rank_threads.own_modules import loads_shared
from polyrank.rank_threads.rank_globals import rank_globals
from polyrank.replacing.row import Row

__all__ = ["ROWS", "OwnLoggers"]

Function = Callable[..., Any]
# Its level, whether it is disabled, whether it tells its parents, its handlers, its filters.
_Setting = tuple[int, bool, bool, list[Any], list[Any]]

_MANAGER: Any = logging.root.manager


def _setting(logger: logging.Logger) -> _Setting:
    return logger.level, logger.disabled, logger.propagate, logger.handlers, logger.filters


def _copied(setting: _Setting) -> _Setting:
    """With lists that can be changed where they are."""
    level, disabled, propagate, handlers, filters = setting
    return level, disabled, propagate, list(handlers), list(filters)


class OwnLoggers:
    """Which loggers are set by each rank for itself. Made before ranks run."""

    def __init__(self, state: _C.ProcessState) -> None:
        self._state = state
        self.of_process: dict[str, Any] = _MANAGER.loggerDict
        self._shared = {
            logger for logger in self.of_process.values() if isinstance(logger, logging.Logger)
        }
        self._exchanged: list[logging.Logger] = []
        self._first: list[_Setting] = []  # of each, before a rank set it

    def exchange(self, logger: logging.Logger) -> None:
        """From now on let what it is set to change hands with the turn: it is about to be set."""
        if logger not in self._shared:
            return  # a rank's own, the root, or exchanged
        self._shared.remove(logger)
        if not self._exchanged:
            self._state.add_switch(self._put, [])
        self._exchanged.append(logger)
        self._first.append(_copied(_setting(logger)))

    def _put(self, coming: list[_Setting]) -> list[_Setting]:
        """Those of a rank in their places, which may know fewer; gives what was there."""
        leaving = [_setting(logger) for logger in self._exchanged]
        new = [*coming, *map(_copied, self._first[len(coming) :])]
        for logger, setting in zip(self._exchanged, new, strict=True):
            logger.level, logger.disabled, logger.propagate, logger.handlers, logger.filters = (
                setting
            )
        if [setting[0] for setting in leaving] != [setting[0] for setting in new]:
            _MANAGER._clear_cache()  # of what is enabled
        return leaving


def _exchanging(original: Function) -> Function:
    """A method that sets a logger."""

    @functools.wraps(original)
    def set_logger(self: Any, *args: Any, **options: Any) -> Any:
        own = rank_globals()
        if own is not None and isinstance(self, logging.Logger):
            own.settings.loggers.exchange(self)
        return original(self, *args, **options)

    return set_logger


def _exchanging_existing(original: Function) -> Function:
    """`_handle_existing_loggers`, by which `logging.config` resets loggers that it is told nothing of."""

    @functools.wraps(original)
    def handle(existing: list[str], *args: Any) -> Any:
        own = rank_globals()
        if own is not None:
            for name in existing:
                own.settings.loggers.exchange(logging.getLogger(name))
        return original(existing, *args)

    return handle


def _of_all_ranks(original: Function) -> Function:
    """`Manager.getLogger`, which finds what shared modules made on other ranks, too."""

    @functools.wraps(original)
    def get_logger(manager: Any, name: str) -> Any:
        own = rank_globals()
        if own is None or isinstance(manager.loggerDict.get(name), logging.Logger):
            return original(manager, name)
        of_process = own.settings.loggers.of_process
        if isinstance(of_process.get(name), logging.Logger):
            manager.loggerDict[name] = of_process[name]
            return of_process[name]
        logger = original(manager, name)
        if loads_shared(sys._getframe(1), own.operators.modules):
            of_process[name] = logger
        return logger

    return get_logger


_WHY = "sets a logger for all ranks"

ROWS = (
    *(
        Row("logging:Logger", name, _exchanging, _WHY)
        for name in ("setLevel", "addHandler", "removeHandler")
    ),
    *(Row("logging:Filterer", name, _exchanging, _WHY) for name in ("addFilter", "removeFilter")),
    Row("logging.config", "_handle_existing_loggers", _exchanging_existing, _WHY),
    Row("logging:Manager", "getLogger", _of_all_ranks, "knows one rank's loggers"),
)
