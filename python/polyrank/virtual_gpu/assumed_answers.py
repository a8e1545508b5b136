"""What programs ask of GPUs without bytes where any answer but one stops them from being what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from polyrank.replacing.row import Row, with_original

__all__ = ["ROWS"]


def _maybe_opt_step(
    original: Callable[..., Any],
    scaler: Any,
    optimizer: torch.optim.Optimizer,
    optimizer_state: dict[str, Any],
    *args: Any,
    **kwargs: Any,
) -> Any:
    """`GradScaler._maybe_opt_step`, which steps unless a gradient is infinite: none is taken to be.

    It reads the numbers, as theirs does, which takes its time: the CPU waits for the GPU.
    """
    found = optimizer_state["found_inf_per_device"].values()
    if not any(one.is_cuda for one in found):
        return original(scaler, optimizer, optimizer_state, *args, **kwargs)
    for one in found:
        one.item()
    return optimizer.step(*args, **kwargs)


def _set_rng_state(
    original: Callable[..., None], new_state: torch.Tensor, *args: Any, **kwargs: Any
) -> None:
    """`torch.cuda.set_rng_state`, to which a state that was on a GPU without bytes is none.

    Its bytes are read as ones. DTensor sends rank 0's state to all: a rank alone keeps its own.
    """
    if not bool((new_state == 1).all()):
        original(new_state, *args, **kwargs)


ROWS = (
    Row(
        "torch.amp.grad_scaler:GradScaler",
        "_maybe_opt_step",
        with_original(_maybe_opt_step),
        "reads whether gradients are infinite",
    ),
    Row(
        "torch.cuda.random",
        "set_rng_state",
        with_original(_set_rng_state),
        "takes a state that was on the GPU, whose bytes nobody has",
    ),
)
