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
from polyrank.replacing.code_of import calling_file, is_of_library
from polyrank.replacing.row import Row, with_original

__all__ = ["ROWS", "EachRanksGpu", "index_of_ranks_gpu"]

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

    named: Any = None  # what a torch.device was last made of that differs between ranks
    current: Any = 0  # the index of each rank's current GPU

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        # All of torch's functions pass here. Few take a device by position.
        if not kwargs and func is not torch.device and func not in _DEVICE_AT:
            return func(*args)
        return self._on_own_gpu(func, args, kwargs or {})

    def _on_own_gpu(
        self, func: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        if func is torch.device:
            named = next(filter(_is_ranks_own, (*args, *options.values())), None)
            if named is None:
                return func(*args, **options)
            self.named = named
            return func("cuda", _EACH_RANKS_OWN)
        at = _DEVICE_AT.get(func)
        if at is not None and at < len(args) and _is_ranks_own(args[at]):
            args = (*args[:at], torch.device("cuda", _EACH_RANKS_OWN), *args[at + 1 :])
        if "device" in options and _is_ranks_own(options["device"]):
            options = options | {"device": torch.device("cuda", _EACH_RANKS_OWN)}
        return func(*args, **options)


def index_of_ranks_gpu(original: Callable[..., int]) -> Callable[..., int]:
    """`_get_device_index`, which takes no number that differs between ranks."""

    @functools.wraps(original)
    def index(device: Any, *args: Any, **kwargs: Any) -> int:
        return original(_EACH_RANKS_OWN if _is_ranks_own(device) else device, *args, **kwargs)

    return index


def _active() -> EachRanksGpu | None:
    length = torch._C._len_torch_function_stack()
    modes = map(torch._C._get_function_stack_at, reversed(range(length)))
    return next((mode for mode in modes if isinstance(mode, EachRanksGpu)), None)


def _index_in(name: Any) -> Any:
    return int(name.removeprefix("cuda:")) if isinstance(name, str) else name


def _set_device(original: Callable[..., None], device: Any) -> None:
    """`torch.cuda.set_device`, which keeps the number by which ranks name their GPUs.

    A torch.device has lost it: after one was made of such a number, `cuda:0` is taken for that.
    """
    original(device)
    if (mode := _active()) is not None:
        is_own = isinstance(device, torch.device) and device.index == _EACH_RANKS_OWN
        named = mode.named if is_own and mode.named is not None else device
        mode.current = _index_in(named) if _is_ranks_own(named) else torch.cuda.current_device()


def _current_device(original: Callable[[], int]) -> Any:
    """`torch.cuda.current_device`, whose number differs between ranks where the program asks."""
    index = original()
    mode = None if is_of_library(calling_file(3)) else _active()
    return index if mode is None or index != _EACH_RANKS_OWN else mode.current


def _without_ours(original: Callable[..., bool]) -> Callable[..., bool]:
    """`has_torch_function`, which is asked of tensors and answers for modes, too.

    Where torch is told yes it takes other ways: no fast path of attention, whose sums round differently.
    """

    @functools.wraps(original)
    def has_torch_function(*args: Any) -> bool:
        if torch._C._len_torch_function_stack() != 1 or not isinstance(
            torch._C._get_function_stack_at(0), EachRanksGpu
        ):
            return original(*args)
        ours = torch._C._pop_torch_function_stack()
        try:
            return original(*args)
        finally:
            torch._C._push_on_torch_function_stack(ours)

    return has_torch_function


_WHY = "takes the mode that knows ranks' own GPUs for tensors with ways of their own"

ROWS = (
    *(
        Row("torch._C", name, _without_ours, _WHY)
        for name in (
            "_has_torch_function",
            "_has_torch_function_unary",
            "_has_torch_function_variadic",
        )
    ),
    Row("torch.cuda", "set_device", with_original(_set_device), "forgets ranks' own numbers"),
    Row("torch.cuda", "current_device", with_original(_current_device), "gives one rank's number"),
)
