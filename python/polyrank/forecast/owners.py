"""Whose memory it is: tells the core what parameters, gradients, states and buffers are made of."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from torch.utils.weak import WeakIdKeyDictionary

from polyrank import _C
from polyrank.forecast.tokens import TokenCount
from polyrank.recording.module_paths import paths_of, unwrapped_path

__all__ = ["OPTIMIZER", "owners_told"]

OPTIMIZER = "optimizer"  # what stands for a module while an optimizer steps


@contextlib.contextmanager
def owners_told(
    history: _C.MemoryHistory, tokens: TokenCount, after_step: Callable[[], None]
) -> Iterator[None]:
    """A block in which the history learns who owns what, and tokens are counted.

    Calls `after_step` after each step.

    A step ends with the step of the optimizer that stepped first: programs may have several.
    """
    owners = _Owners(history, tokens, after_step)
    handles = [
        register_module_forward_pre_hook(owners.module_runs),
        register_optimizer_step_pre_hook(owners.before_step),
        register_optimizer_step_post_hook(owners.after_step),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        owners.leave_step()


class _Owners:
    def __init__(
        self, history: _C.MemoryHistory, tokens: TokenCount, after_step: Callable[[], None]
    ) -> None:
        self._history = history
        self._tokens = tokens
        self._after_step = after_step
        self._names: Any = WeakIdKeyDictionary()  # of parameters
        self._paths: Any = WeakIdKeyDictionary()  # of modules that ran
        # The optimizer whose steps count. Weak, as is all that is kept here: what the program lets go
        # of must be gone.
        self._first: Callable[[], torch.optim.Optimizer | None] = lambda: None
        self._is_in_step = False

    def module_runs(self, module: nn.Module, args: Any) -> None:
        """The first module that runs knows the names of all within it."""
        if module not in self._paths:
            self._own_parts(module)
        self._tokens.module_runs(module, args, lambda: str(self._paths[module]))

    def _own_parts(self, module: nn.Module) -> None:
        for path, part in paths_of(module):
            self._paths[part] = path
        for full_name, parameter in module.named_parameters():
            name = unwrapped_path(full_name)
            self._names.setdefault(parameter, name)
            _own(parameter, "parameters", name)
        for name, buffer in module.named_buffers():
            _own(buffer, "buffers", unwrapped_path(name))

    def before_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        for parameter in _parameters(optimizer):
            _own(parameter, "parameters", self._names.get(parameter, ""))
            if parameter.grad is not None:
                _own(parameter.grad, "gradients", self._names.get(parameter, ""))
        self.leave_step()
        _C.enter_module(OPTIMIZER)
        self._is_in_step = True

    def after_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self.leave_step()
        for parameter, state in optimizer.state.items():
            for value in state.values() if isinstance(state, dict) else ():
                if isinstance(value, torch.Tensor):
                    _own(value, "optimizer states", self._names.get(parameter, ""))
        if self._first() is None:
            self._first = weakref.ref(optimizer)
        if optimizer is self._first():
            self._history.next_step()
            self._tokens.end_step()
            self._after_step()

    def leave_step(self) -> None:
        if self._is_in_step:
            _C.leave_module()
            self._is_in_step = False


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[torch.Tensor]:
    for group in optimizer.param_groups:
        yield from group["params"]


def _own(tensor: torch.Tensor, owner: str, detail: str) -> None:
    """Of a tensor that is made of others (DTensor) those are meant."""
    wrapper: Any = tensor
    if is_traceable_wrapper_subclass(wrapper):
        names, _ = wrapper.__tensor_flatten__()
        for part in (getattr(wrapper, name) for name in names):
            if isinstance(part, torch.Tensor):  # and no mesh
                _own(part, owner, detail)
    elif tensor.device.type == "cuda":
        _C.set_memory_owner(tensor, owner, detail)
