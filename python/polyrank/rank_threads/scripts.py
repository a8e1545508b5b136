"""A script, run by each rank as its own `__main__`."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from types import CodeType
from typing import Any

__all__ = ["Script"]


class Script:
    """What `python script.py` or `python -m module` runs, compiled once.

    Raises:
        ModuleNotFoundError: there is no such module, or it has no source.
    """

    def __init__(self, name: str, *, is_module: bool) -> None:
        self._package: str | None = None
        if is_module:
            self._code, self._file = self._find_module(name)
        else:
            self._file = name
            self._code = compile(Path(name).read_bytes(), name, "exec")

    def _find_module(self, name: str) -> tuple[CodeType, str]:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            name = f"{name}.__main__"
            spec = importlib.util.find_spec(name)
        loader: Any = None if spec is None else spec.loader
        code = loader.get_code(name) if hasattr(loader, "get_code") else None
        if spec is None or code is None:
            raise ModuleNotFoundError(f"No module named {name!r} that has code")
        self._package = spec.parent
        return code, spec.origin or name

    def run(self) -> None:
        """Run it on the rank of the calling thread."""
        main = types.ModuleType("__main__")
        main.__file__ = self._file
        main.__package__ = self._package
        sys.modules["__main__"] = main  # the rank's own, as all of its modules
        exec(self._code, main.__dict__)  # noqa: S102 - running programs is what this is for
