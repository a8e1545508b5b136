"""GPUs that ranks of a lockstep program name by their own number: `torch.device("cuda", local_rank)`.

One program runs for all ranks, and a tensor of all ranks is on one device. Each rank's own GPU is
`cuda:0` there, as where CUDA_VISIBLE_DEVICES gives each process one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from polyrank.numbers.rank_dependent_numbers import is_rank_dependent_number
from polyrank.rank_text.marked import is_rank_dependent_text

__all__ = ["EachRanksGpu", "index_of_ranks_gpu"]

_EACH_RANKS_OWN = 0

# Functions that take a device by position, and where.
_DEVICE_AT: dict[Any, int] = {
    torch.Tensor.to: 1,
    torch.Tensor.cuda: 1,
    torch._C._nn._parse_to: 0,
}


def _is_ranks_own(value: Any) -> bool:
    if isinstance(value, str):
        return value.startswith("cuda:") and is_rank_dependent_text(value)
    return is_rank_dependent_number(value)


class EachRanksGpu(TorchFunctionMode):
    """Takes a GPU that each rank names by its own number for `cuda:0`."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        options = kwargs or {}
        if func is torch.device:
            if any(map(_is_ranks_own, (*args, *options.values()))):
                return func("cuda", _EACH_RANKS_OWN)
            return func(*args, **options)
        own = torch.device("cuda", _EACH_RANKS_OWN)
        at = _DEVICE_AT.get(func)
        if at is not None and at < len(args) and _is_ranks_own(args[at]):
            args = (*args[:at], own, *args[at + 1 :])
        if "device" in options and _is_ranks_own(options["device"]):
            options = options | {"device": own}
        return func(*args, **options)


def index_of_ranks_gpu(original: Callable[..., int]) -> Callable[..., int]:
    """`_get_device_index`, which takes no number that differs between ranks."""

    @functools.wraps(original)
    def index(device: Any, *args: Any, **kwargs: Any) -> int:
        return original(_EACH_RANKS_OWN if _is_ranks_own(device) else device, *args, **kwargs)

    return index
