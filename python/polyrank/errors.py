"""The errors that polyrank raises: what went wrong, on which ranks, with which values, what to do.

Each derives from the built-in type that describes it and, where PyTorch's simulator raises an
AssertionError in the same place, from that too, so that programs written for it catch ours.

A DivergenceError alone is no Exception. It says that ranks go different ways from here, of which a
run for all of them can take none: an `except Exception` or `except RuntimeError` that took it for
an error of the program's would send all ranks one way, silently.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from polyrank.tensor.unheard_errors import UnheardErrors


listeners: list[UnheardErrors] = []  # of the modes that are on


# How numbers that differ show themselves: a program may take a message apart, which such text refuses.
_NUMBER = re.compile(r"Local(?:Int|Float|Bool)Node\((\{[^}]*\})[^)]*\)")


class Error(BaseException):
    """Base of all errors of polyrank. All except DivergenceError are Exceptions."""

    def __init__(self, *args: object) -> None:
        super().__init__(
            *(_NUMBER.sub(r"\1 by rank", arg) if isinstance(arg, str) else arg for arg in args)
        )

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the program's own lines, and the message."""
        from polyrank.short_traceback import short_traceback

        return short_traceback(self)


class UsageError(Error, ValueError, AssertionError):
    """A function was called in a way that it does not offer."""


class UnknownOptionError(UsageError, KeyError):
    """A backend was given an option that it does not have."""

    __str__ = Exception.__str__  # a KeyError's would quote the message


class DivisionByZeroError(UsageError, ZeroDivisionError):
    """A rank-dependent number was divided by one that is zero on some rank."""


class UnsupportedOpError(Error, NotImplementedError):
    """An operator, or a use of it, that can't be run on LocalTensors."""


class DivergenceError(Error):
    """Ranks differ where the program needs them to agree. `except Exception` does not catch it."""

    is_heard = False  # by the program, or by who ran it
    made_at = ""  # file and line, where somebody listens
    taken_by = ""  # who caught it last

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        for listener in listeners:
            listener.raised(self)

    def with_traceback(self, trace: TracebackType | None, /) -> DivergenceError:
        """As any exception's; `unittest` drops the trace of what it caught."""
        for listener in listeners:
            listener.loses_trace(self)
        return super().with_traceback(trace)

    def __del__(self) -> None:
        for listener in listeners or ():  # None as the interpreter ends
            listener.dropped(self)


class CollectiveError(Error, RuntimeError):
    """A collective that the real backends would refuse too."""


class CollectiveMismatchError(CollectiveError):
    """The ranks of a group launched collectives that do not match."""


class DeadlockError(CollectiveError):
    """No rank can proceed."""


class InternalError(Error, Exception):
    """A fault in polyrank itself; please report it with the program that shows it."""
