"""A script, run by each rank as its own `__main__`."""

from __future__ import annotations

import builtins
import importlib.util
import sys
import types
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

__all__ = ["Script"]


class Script:
    """What `python script.py` or `python -m module` runs.

    Raises:
        SyntaxError: the script is not Python.
    """

    def __init__(self, name: str, *, is_module: bool) -> None:
        self._name = name
        self._file = str(Path(name).absolute())  # before the program changes the directory
        # A module is looked up on each rank: that loads the packages it is in, which are the rank's.
        if is_module:
            self._code = None
        else:  # without the future statements of this file
            text = Path(name).read_bytes()
            self._code = compile(text, self._file, "exec", dont_inherit=True)

    @property
    def code(self) -> CodeType | None:
        """What it runs; None of a module, which is not looked up yet."""
        return self._code

    def run(self) -> None:
        """Run it on the rank of the calling thread.

        Raises:
            ModuleNotFoundError: there is no such module, or it has no code.
        """
        main = types.ModuleType("__main__")
        # As in the interpreter's own: the module, and what a module of its import would not have.
        vars(main).update(__builtins__=builtins, __annotations__={}, __cached__=None)
        if self._code is None:
            code, spec = _find_module(self._name)
            main.__file__, main.__package__ = spec.origin or self._name, spec.parent
            main.__spec__, main.__loader__, main.__cached__ = spec, spec.loader, spec.cached  # type: ignore[attr-defined]
            sys.argv[:1] = [main.__file__]
        else:
            code, main.__file__ = self._code, self._file
            main.__loader__ = SourceFileLoader("__main__", self._file)
        sys.modules["__main__"] = main  # the rank's own, as all of its modules
        exec(code, main.__dict__)  # noqa: S102 - running programs is what this is for


def _find_module(name: str) -> tuple[CodeType, ModuleSpec]:
    """Code and spec of what `python -m name` runs."""
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        name = f"{name}.__main__"
        spec = importlib.util.find_spec(name)
    loader: Any = None if spec is None else spec.loader
    code = loader.get_code(name) if hasattr(loader, "get_code") else None
    if spec is None or code is None:
        raise ModuleNotFoundError(f"No module named {name!r} that has code")
    return code, spec
