"""DivergenceErrors that are raised in lockstep and that nobody hears of.

One says that ranks part. What takes it for an error of its own (a bare `except:`, a thread, a Future) sends
all ranks one way. So each is followed until it ends: heard are those that leave the mode, those whose handler
names them, and those that polyrank itself handles. Code in C clears errors and tries another way, right or
wrong: that is told, and refused by nobody. TorchScript makes a RuntimeError of each error.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, ModuleType, TracebackType

from polyrank import _C, errors
from polyrank.errors import DivergenceError
from polyrank.rank_text.taken_for_one import showing
from polyrank.replacing.code_of import is_of_library

__all__ = ["ToldErrors", "UnheardErrors", "hear"]

_OWN_FOLDER = f"{Path(__file__).parent}/"
_MEANT = (DivergenceError, errors.Error)  # by handlers that name one of them
_MOST_TOLD = 3


_BY_C = "a function written in C"
_BY_TORCH_SCRIPT = "TorchScript, which raises a RuntimeError in its place"


@dataclass(frozen=True)
class _Unheard:
    message: str
    made_at: str
    taken_by: str


@dataclass(frozen=True)
class ToldErrors:
    """What to tell of errors that nobody heard of."""

    text: str
    is_certain: bool  # that all ranks went one way


class UnheardErrors:
    """Those of one run; it listens from its making until `end()`."""

    def __init__(self) -> None:
        self._alive: weakref.WeakSet[DivergenceError] = weakref.WeakSet()
        self._unheard: dict[_Unheard, int] = {}  # and how often
        self._heard_at: set[str] = set()
        errors.listeners.append(self)

    def raised(self, error: DivergenceError) -> None:
        """Called as one is made."""
        error.made_at = _calling_place(sys._getframe(2))
        if _C.is_in_torch_script():
            error.taken_by = _BY_TORCH_SCRIPT
        self._alive.add(error)

    def dropped(self, error: DivergenceError) -> None:
        """Called as nobody holds it any more."""
        self.loses_trace(error)
        if error.is_heard:
            self._heard_at.add(error.made_at)
            return
        taken_by = error.taken_by or _BY_C
        unheard = _Unheard(str(error), error.made_at, taken_by)
        with showing():  # the message may have text of numbers that differ in it
            self._unheard[unheard] = self._unheard.get(unheard, 0) + 1

    def loses_trace(self, error: DivergenceError) -> None:
        """Note who caught it. What C code clears has no trace."""
        trace = error.__traceback__
        if trace is not None and not error.is_heard:
            error.is_heard = _is_handled(trace)
            error.taken_by = _place(trace.tb_frame, trace.tb_lineno)

    def end(self, error: BaseException | None) -> ToldErrors | None:
        """Listen no more.

        Args:
            error: With which the run ends.

        Returns: what to tell of the errors that nobody heard of, if there are any.
        """
        errors.listeners.remove(self)
        hear(error)
        for alive in list(self._alive):
            self.dropped(alive)
        # What C code tried before it raised one that was heard is settled.
        told = {
            unheard: times
            for unheard, times in self._unheard.items()
            if unheard.taken_by != _BY_C or unheard.made_at not in self._heard_at
        }
        if not told:
            return None
        return ToldErrors(_text(told), any(unheard.taken_by != _BY_C for unheard in told))


def _text(told: dict[_Unheard, int]) -> str:
    lines = [
        f"{unheard.made_at}: {unheard.message}\n    taken for an error of its own by {unheard.taken_by}"
        + (f", {times} times" if times > 1 else "")
        for unheard, times in list(told.items())[:_MOST_TOLD]
    ]
    if len(told) > _MOST_TOLD:
        lines.append(f"and {len(told) - _MOST_TOLD} others")
    return (
        "ranks parted, and the program did not hear of it: from there on all ranks went one way, which is not "
        "what processes do.\n  "
        + "\n  ".join(lines)
        + "\nLet a DivergenceError pass, or name it where it is "
        "handled (`except polyrank.DivergenceError`)."
    )


def hear(error: BaseException | None) -> None:
    """Mark the errors behind one that a run ends with, or a test. A program's own exit says nothing of them."""
    while error is not None and not isinstance(error, SystemExit):
        if isinstance(error, DivergenceError):
            error.is_heard = True
        error = error.__cause__ or error.__context__


def _is_handled(trace: TracebackType) -> bool:
    """Whether who caught it, the outermost frame that it came to, means it."""
    frame = trace.tb_frame
    has_handlers = bool(getattr(frame.f_code, "co_exceptiontable", b"?"))  # unknown to Python 3.10
    is_own = frame.f_code.co_filename.startswith(_OWN_FOLDER) and has_handlers
    return is_own or any(map(_is_meant, _read_in(frame)))


def _read_in(frame: FrameType) -> Iterator[object]:
    """What the frame's code may name: variables' values, and attributes of modules among these."""
    code = frame.f_code
    places = {**frame.f_globals, **frame.f_locals}
    names = (*code.co_names, *code.co_varnames, *code.co_freevars, *code.co_cellvars)
    values = [places[name] for name in names if name in places]
    yield from values
    for value in values:
        if isinstance(value, ModuleType):
            yield from (vars(value)[name] for name in code.co_names if name in vars(value))


def _is_meant(value: object) -> bool:
    if isinstance(value, tuple):
        return any(map(_is_meant, value))
    return any(value is meant for meant in _MEANT)


def _calling_place(frame: FrameType) -> str:
    """The innermost place that is the program's."""
    at: FrameType | None = frame
    while at is not None and is_of_library(at.f_code.co_filename):
        at = at.f_back
    found = frame if at is None else at
    return _place(found, found.f_lineno)


def _place(frame: FrameType, line: int) -> str:
    return f"{frame.f_code.co_filename}:{line}"
