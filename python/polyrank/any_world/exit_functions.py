"""What a program has called at its end: while its ranks and groups are there, as in processes."""

from __future__ import annotations

import contextlib
import functools
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from polyrank.errors import Error
from polyrank.replacing.code_of import is_of_library
from polyrank.replacing.row import Row

__all__ = ["ExitFunctions", "exit_rows"]

Function = Callable[..., Any]


class ExitFunctions:
    """Functions that a program has given to `atexit`."""

    def __init__(self) -> None:
        self._calls: list[tuple[Function, functools.partial[Any]]] = []

    def add(self, function: Function, args: Any, options: Any) -> None:
        """Call a function at the end."""
        self._calls.append((function, functools.partial(function, *args, **options)))

    def remove(self, function: Function) -> None:
        """Call none that equals this one."""
        self._calls = [call for call in self._calls if call[0] != function]

    @contextlib.contextmanager
    def called_afterwards(self) -> Iterator[None]:
        """Around a program: at its end all are called, the last one first.

        As `atexit` has it, what one raises is shown and ends nothing. An error of polyrank's says that
        there is no right result.

        Raises:
            Error: the first of polyrank's that one raised, if the program itself did not fail.
        """
        try:
            yield
        except SystemExit:
            self._call(fails=True)
            raise
        except BaseException:
            self._call(fails=False)
            raise
        self._call(fails=True)

    def _call(self, *, fails: bool) -> None:
        refused: Error | None = None
        while self._calls:
            function, call = self._calls.pop()
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - as atexit has it
                if fails and refused is None and isinstance(error, Error):
                    refused = error
                else:
                    sys.stderr.write(f"Exception ignored in atexit callback: {function!r}\n")
                    traceback.print_exc()
        if refused is not None:
            raise refused


def exit_rows(current: Callable[[], ExitFunctions | None]) -> tuple[Row, ...]:
    """`atexit` for programs whose functions `current` has; None: what calls is no program."""

    def registers(original: Function) -> Function:
        def register(function: Function, /, *args: Any, **options: Any) -> Function:
            own = current()
            # What Python's library, torch and polyrank register is for the end of the process.
            is_program = not is_of_library(sys._getframe(1).f_code.co_filename)
            if own is None or not callable(function) or not is_program:
                return original(function, *args, **options)  # type: ignore[no-any-return]
            own.add(function, args, options)
            return function

        return register

    def unregisters(original: Function) -> Function:
        def unregister(function: Function, /) -> None:
            own = current()
            if own is not None:
                own.remove(function)
            original(function)

        return unregister

    why = "would be called when groups and ranks are gone"
    return (
        Row("atexit", "register", registers, why),
        Row("atexit", "unregister", unregisters, why),
    )
