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
    """What `python script.py` or `python -m module` runs.

    Raises:
        SyntaxError: the script is not Python.
    """

    def __init__(self, name: str, *, is_module: bool) -> None:
        self._name = name
        # A module is looked up on each rank: that loads the packages it is in, which are the rank's.
        self._code = None if is_module else compile(Path(name).read_bytes(), name, "exec")

    def run(self) -> None:
        """Run it on the rank of the calling thread.

        Raises:
            ModuleNotFoundError: there is no such module, or it has no code.
        """
        main = types.ModuleType("__main__")
        code, main.__file__, main.__package__ = (
            _find_module(self._name) if self._code is None else (self._code, self._name, None)
        )
        sys.modules["__main__"] = main  # the rank's own, as all of its modules
        exec(code, main.__dict__)  # noqa: S102 - running programs is what this is for


def _find_module(name: str) -> tuple[CodeType, str, str | None]:
    """Code, file and package of what `python -m name` runs."""
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        name = f"{name}.__main__"
        spec = importlib.util.find_spec(name)
    loader: Any = None if spec is None else spec.loader
    code = loader.get_code(name) if hasattr(loader, "get_code") else None
    if spec is None or code is None:
        raise ModuleNotFoundError(f"No module named {name!r} that has code")
    return code, spec.origin or name, spec.parent
