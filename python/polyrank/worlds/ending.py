"""How a program ended: its exit code, and what is told of it."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from polyrank import exit_codes
from polyrank.any_world.failed_ranks import RanksFailedError, rank_of
from polyrank.any_world.rank_names import rank_names
from polyrank.errors import CollectiveError, DivergenceError, UnsupportedOpError
from polyrank.worlds.interrupts import interrupt_behind, number_of

__all__ = ["Ending", "ending_of", "ending_of_error", "ending_of_exit"]

# Exit code by what the script raised; docs/run.md.
_EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (DivergenceError, exit_codes.DIVERGENCE),
    (CollectiveError, exit_codes.COLLECTIVE),
    (UnsupportedOpError, exit_codes.UNSUPPORTED),
)


@dataclass(frozen=True)
class Ending:
    """How a program ended."""

    exit_code: int = 0
    told: str = ""  # what to tell of it, the cause last
    raised: BaseException | None = None

    @property
    def error(self) -> dict[str, str] | None:
        """Type and message of what was raised, as the JSON file has them."""
        if self.raised is None:
            return None
        return {"type": type(self.raised).__name__, "message": str(self.raised)}


def ending_of(run: Callable[[], None]) -> Ending:
    """Run a program to its end."""
    try:
        run()
    except SystemExit as request:
        return ending_of_exit(request)
    except BaseException as raised:  # noqa: BLE001  whatever it was, the report is still worth having
        interrupt = interrupt_behind(raised)
        return Ending(128 + number_of(interrupt)) if interrupt else ending_of_error(raised)
    return Ending()


def ending_of_exit(request: SystemExit) -> Ending:
    """What a program ends with that asked for it, or of whose ranks one did."""
    if request.code is None:
        return Ending()
    code = request.code if isinstance(request.code, int) else exit_codes.RAISED
    told = "" if isinstance(request.code, int) else f"{request.code}\n"
    failed = request.__cause__
    if isinstance(failed, RanksFailedError):
        exited = [error for error in failed.exceptions if str(error) == repr(request)]
        ranks = [rank for error in exited if (rank := rank_of(error)) is not None]
        others = [error for error in failed.exceptions if error not in exited]
        told = f"{_lines_of(others)}{rank_names(ranks)} exited with code {code}\n{told}"
    return Ending(code, told)


def ending_of_error(error: BaseException) -> Ending:
    """What a program ends with that raised this: the traceback from the script's first frame on.

    Of several ranks' errors the first, which is the cause, and before it a line for all others that
    say the same.
    """
    if isinstance(error, RanksFailedError):
        cause, *others = error.exceptions
        ending = ending_of_error(cause)
        return Ending(ending.exit_code, _lines_of(others) + ending.told, error)
    report = traceback.TracebackException.from_exception(error)
    has_started = _drop_own_frames(report)
    if isinstance(error, ImportError) and not has_started:
        return Ending(exit_codes.USAGE, f"there is no such module to run: {error}\n", error)
    code = next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), exit_codes.RAISED)
    return Ending(code, "".join(report.format()), error)


def _lines_of(errors: Sequence[Exception]) -> str:
    """A line for each kind of error, with the ranks that raised it."""
    ranks_by_line: dict[str, list[int]] = {}
    for error in errors:
        rank = rank_of(error)
        assert rank is not None  # noqa: S101  # a RanksFailedError has noted it
        line = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        ranks_by_line.setdefault(line, []).append(rank)
    return "".join(
        f"raised on {rank_names(ranks)}: {line}\n" for line, ranks in ranks_by_line.items()
    )


def _drop_own_frames(report: traceback.TracebackException) -> bool:
    """Drop the frames up to the script's first, from causes too; tell whether there is one."""
    for cause in (report.__cause__, report.__context__):
        if cause is not None:
            _drop_own_frames(cause)
    package = Path(__file__).parents[1]
    own = tuple(str(package / room) for room in ("cli", "process_ranks", "rank_threads", "worlds"))
    outside = [
        index
        for index, frame in enumerate(report.stack)
        if not frame.filename.startswith((*own, "<frozen "))  # runpy is frozen
        and frame.filename != contextlib.__file__
    ]
    del report.stack[: outside[0] if outside else len(report.stack)]
    return bool(outside)
