"""Tells the C++ core which module of the model runs, while a trace is on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn
from torch.compiler import is_compiling
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

from polyrank import _C

__all__ = ["named_modules_run", "paths_of", "unwrapped_path"]


# What torch.compile, checkpoints and FSDP put between a module and the one that they wrap.
_WRAPPED = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")


def paths_of(root: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The root and its parts by their paths; the root goes by the name of its class.

    A module and what wraps it have one path, and a root that wraps another goes by the class of that one.
    """
    name = type(_unwrapped(root)).__name__
    for path, part in root.named_modules():
        yield unwrapped_path(path) or name, part


def unwrapped_path(path: str) -> str:
    """The path of a module or a parameter without what wraps modules."""
    if not any(wrapped in path for wrapped in _WRAPPED):
        return path
    return ".".join(step for step in path.split(".") if step not in _WRAPPED)


def _unwrapped(module: nn.Module) -> nn.Module:
    for wrapped in _WRAPPED:
        if isinstance(inner := module._modules.get(wrapped), nn.Module):
            return _unwrapped(inner)
    return module


class _Paths:
    """The path of each module that has run: "layers.0.mlp" as in the state dict of its root."""

    def __init__(self) -> None:
        self._path_of: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
        self._handles: WeakKeyDictionary[nn.Module, RemovableHandle] = WeakKeyDictionary()
        self._thread = threading.local()

    # What torch.compile takes in has no modules any more, and it can't trace these look-ups.
    def enter(self, module: nn.Module, args: Any) -> None:
        if is_compiling():
            return
        path = self._path_of.get(module)
        if path is None:
            path = self._name(module)
        # Last among the module's hooks: what these launch (tensor parallelism reduces outputs in
        # one) belongs to the module. A global hook would run before them.
        if module not in self._handles:
            self._handles[module] = module.register_forward_hook(self.leave, always_call=True)
        self._running.append(path)
        _C.enter_module(path)

    def leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._running and not is_compiling():
            self._running.pop()
            _C.leave_module()

    @property
    def _running(self) -> list[str]:
        running: list[str] | None = getattr(self._thread, "running", None)
        if running is None:
            running = self._thread.running = []
        return running

    def _name(self, module: nn.Module) -> str:
        if self._running:  # known to nobody above it
            path = f"{self._running[-1]}.{type(_unwrapped(module)).__name__}"
            self._path_of[module] = path
            return path
        self._path_of.update((part, path) for path, part in paths_of(module))
        return self._path_of[module]

    def remove(self) -> None:
        for handle in self._handles.values():
            handle.remove()
        while self._running:  # the trace ends inside of modules
            self._running.pop()
            _C.leave_module()


# By the rank whose modules they name: hooks are a rank's own where it is a thread. None: the process's.
_active: dict[int | None, _Paths] = {}


@contextlib.contextmanager
def named_modules_run() -> Iterator[None]:
    """Within this context the core knows which module each thread runs. Contexts may be nested."""
    thread = _C.RankThread.current()
    owner = None if thread is None else thread.rank
    if None in _active or owner in _active:
        yield
        return
    paths = _active[owner] = _Paths()
    handle = register_module_forward_pre_hook(paths.enter)
    try:
        yield
    finally:
        del _active[owner]
        handle.remove()
        paths.remove()
