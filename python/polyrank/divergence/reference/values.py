"""All tensors of numbers that a run's operators take: what is looked for in a reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from polyrank import _C
from polyrank.divergence.content import Copies, content_of
from polyrank.divergence.histories import UNINITIALIZED, history_of
from polyrank.tensor.local_tensor import is_foreign_subclass

__all__ = ["Made", "ValueLog"]

Made = tuple[str, str, int]  # an operator's name, file and line


class ValueLog(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps a copy of each tensor of numbers that an operator of the calling thread takes."""

    def __init__(self, ranks: Sequence[int], copies: Copies, results: dict[Made, Copies]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ranks = ranks
        self.copies = copies
        self.results = results  # what operators gave in forward

    def __torch_dispatch__(
        self,
        func: Any,
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if any(is_foreign_subclass(kind) for kind in types):
            return NotImplemented  # its own operators are what runs
        if not isinstance(func, torch._ops.OpOverload):
            return func(*args, **(kwargs or {}))
        histories = []
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                history = history_of(value)
                if history is not None and history.is_uninitialized:
                    histories.append(history)
                else:
                    content_of(value, self.ranks, self.copies)
        result = func(*args, **(kwargs or {}))
        if func._schema.name.startswith(UNINITIALIZED):
            if isinstance(result, torch.Tensor) and (made := history_of(result)) is not None:
                made.is_uninitialized = True
        elif not func.is_view:
            for history in histories:
                history.is_uninitialized = False  # it was taken to be written
            self._note_results(func._schema.name, result)
        return result

    def _note_results(self, name: str, result: Any) -> None:
        file, line, _, is_backward = _C.call_site()
        if is_backward or torch._C._current_autograd_node() is not None:
            return
        given = self.results.setdefault((name, file, line), {})
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                content_of(value, self.ranks, given)
