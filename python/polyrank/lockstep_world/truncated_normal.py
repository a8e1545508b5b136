"""`torch.nn.init.trunc_normal_`, which draws again until all values fit: on each rank as often as it needs."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from polyrank import _C
from polyrank.replacing.row import Row, with_original
from polyrank.tensor.active_modes import enabled_local_tensor_mode
from polyrank.tensor.local_tensor import LocalTensor
from polyrank.tensor.local_tensor_mode import LocalTensorMode

__all__ = ["ROWS"]


class _UntilAllFit(TorchFunctionMode):
    """A block in which "does a value not fit?" is answered yes while any rank has one.

    A rank whose values fit draws on with the others, and keeps what it has: the function takes new
    values for those alone that don't fit. leave_streams() puts its stream back to where its last draw
    left it. Ranks of a DTensor's shards ask for themselves, too: its `bool()` is the shard's.
    """

    def __init__(self, mode: LocalTensorMode, device: torch.device) -> None:
        super().__init__()
        self._mode = mode
        self._device = device
        self._num_asked = 0
        self._asked_before: set[int] = set()  # after how many questions ranks had all
        self._state_of: dict[int, torch.Tensor] = {}  # the streams' of ranks that have all

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if getattr(func, "__name__", "") != "__bool__":
            return func(*args, **(kwargs or {}))
        (answer,) = args
        local = answer.to_local() if hasattr(answer, "to_local") else answer
        if not isinstance(local, LocalTensor):
            return bool(local)
        self._num_asked += 1
        cohorts = local.cohorts()
        fit = [rank for cohort in cohorts if not bool(cohort.tensor) for rank in cohort.ranks]
        self._note_streams(fit)
        return len(fit) < len(self._mode.ranks)

    def _note_streams(self, fit: list[int]) -> None:
        new = set(fit) - self._state_of.keys()
        if not new:
            return
        self._asked_before.add(self._num_asked)
        for cohort in _C.cohorts(self._mode._state.get_rng_state(self._device)):
            self._state_of.update((rank, cohort.tensor) for rank in cohort.ranks if rank in new)

    def leave_streams(self) -> None:
        if len(self._asked_before) > 1:
            self._mode._state.set_rng_state(self._device, LocalTensor(self._state_of))


def _draw(
    original: Any,
    tensor: torch.Tensor,
    mean: float,
    std: float,
    a: float,
    b: float,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    mode = enabled_local_tensor_mode()
    if mode is None or generator is not None:
        return original(tensor, mean, std, a, b, generator)  # type: ignore[no-any-return]
    with _UntilAllFit(mode, tensor.device) as until_all_fit:
        drawn: torch.Tensor = original(tensor, mean, std, a, b, generator)
    until_all_fit.leave_streams()
    return drawn


ROWS = (
    Row(
        "torch.nn.init",
        "_no_grad_trunc_normal_",
        with_original(_draw),
        "branches on whether a value has to be drawn again",
    ),
)
