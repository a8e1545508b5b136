"""Changes a module of PyTorch's that nobody may ever import: importing it here would cost seconds."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["CallingLoader", "WhenImported"]


class WhenImported:
    """Calls `change(module)` now if the module is loaded, else once it has been."""

    def __init__(self, name: str, change: Callable[[ModuleType], None]) -> None:
        self._name = name
        self._change = change
        if name in sys.modules:
            change(sys.modules[name])
        else:
            sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """No longer call."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As a finder: what the others find, with a loader that calls."""
        if name != self._name:
            return None
        self.stop()
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = CallingLoader(spec.loader, after=self._change)
        return spec


class CallingLoader(Loader):
    """A loader that calls `before()` and then what it is given, and `after(module)` once that has run it."""

    def __init__(
        self,
        loader: Any,
        *,
        before: Callable[[], object] = lambda: None,
        after: Callable[[ModuleType], object] = lambda module: None,
    ) -> None:
        self._loader = loader
        self._before = before
        self._after = after

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        self._before()
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        # Whoever asks the module for its source later wants the true loader.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._after(module)
