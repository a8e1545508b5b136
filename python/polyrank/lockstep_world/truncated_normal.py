"""`torch.nn.init.trunc_normal_`, which draws again until all values fit: on each rank as often as it needs."""

from __future__ import annotations

from typing import Any

import torch

from polyrank.replacing.row import Row, with_original
from polyrank.tensor.active_modes import enabled_local_tensor_mode
from polyrank.tensor.local_tensor import LocalTensor, is_foreign_subclass
from polyrank.tensor.local_tensor_mode import LocalTensorMode

__all__ = ["ROWS"]


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
    # A DTensor's ranks draw from one stream, by their shards: that is left to PyTorch, and refused where
    # ranks would not draw equally often. Other layouts of memory take values in another order.
    if (
        mode is None
        or generator is not None
        or is_foreign_subclass(type(tensor))
        or not tensor.is_contiguous()
        or not all(type(size) is int for size in tensor.shape)
        or len((states := _streams(mode, tensor.device)).cohorts()) == 1
    ):
        return original(tensor, mean, std, a, b, generator)  # type: ignore[no-any-return]
    drawn = _drawn_by_stream(
        mode,
        states,
        tensor,
        lambda own, own_generator: original(own, mean, std, a, b, own_generator),
    )
    with torch.no_grad():
        return tensor.copy_(drawn)


def _streams(mode: LocalTensorMode, device: torch.device) -> Any:
    return mode._state.get_rng_state(device)


def _drawn_by_stream(
    mode: LocalTensorMode, states: Any, like: torch.Tensor, draw: Any
) -> LocalTensor:
    """What `draw` writes with each stream to a tensor of its own; the streams go on behind it."""
    drawn, after = {}, {}
    with mode.disable():
        for cohort in states.cohorts():
            stream = torch.Generator(like.device)
            stream.set_state(cohort.tensor)
            own = torch.empty(like.shape, dtype=like.dtype, device=like.device)
            draw(own, stream)
            state = stream.get_state()
            drawn.update(dict.fromkeys(cohort.ranks, own))
            after.update(dict.fromkeys(cohort.ranks, state))
        results = LocalTensor(drawn)
    mode._state.set_rng_state(like.device, LocalTensor(after))
    return results


ROWS = (
    Row(
        "torch.nn.init",
        "_no_grad_trunc_normal_",
        with_original(_draw),
        "branches on whether a value has to be drawn again",
    ),
)
