"""GPUs that ranks of a lockstep program name by their own number: `torch.device("cuda", local_rank)`.

One program runs for all ranks, and a tensor of all ranks is on one device. Each rank's own GPU is
`cuda:0` there, as where CUDA_VISIBLE_DEVICES gives each process one.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from polyrank import _C
from polyrank.numbers.rank_dependent_numbers import is_rank_dependent_number, number_of_ranks
from polyrank.rank_text.marked import MarkedText, is_rank_dependent_text
from polyrank.replacing.code_of import calling_file, is_of_library
from polyrank.replacing.layers import RANKS_GPUS
from polyrank.replacing.row import Make, Row, with_original

__all__ = ["ROWS", "each_ranks_gpu", "index_of_ranks_gpu"]

_EACH_RANKS_OWN = 0


def _is_ranks_own(value: Any) -> bool:
    if isinstance(value, str):
        return value.startswith("cuda:") and is_rank_dependent_text(value)
    return is_rank_dependent_number(value)


@dataclass
class _RanksGpu:
    """What a program said of ranks' own GPUs."""

    named: Any = None  # what a torch.device was last made of that differs between ranks
    current: Any = _EACH_RANKS_OWN  # the index of each rank's current GPU

    def device_of(self, *args: Any, **options: Any) -> torch.device | None:
        """The device of arguments of `torch.device`, if they are ranks' own."""
        named = next(filter(_is_ranks_own, (*args, *options.values())), None)
        if named is None:
            return None
        self.named = named
        return torch.device("cuda", _EACH_RANKS_OWN)


_running: list[_RanksGpu] = []  # of the run that is on: one at least while RANKS_GPUS is on


@contextlib.contextmanager
def each_ranks_gpu() -> Iterator[None]:
    """A block in which a GPU that each rank names by its own number is `cuda:0`."""
    gpu = _RanksGpu()
    _running.append(gpu)
    _C.help_device_class(gpu.device_of)
    try:
        with RANKS_GPUS.on():
            yield
    finally:
        _C.help_device_class(None)
        _running.remove(gpu)


def _taking_own_gpu(at: int | None) -> Make:
    """A function that takes a device as `device=`, and at a position if one is given."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def function(*args: Any, **options: Any) -> Any:
            if options and _is_ranks_own(options.get("device")):
                options = options | {"device": torch.device("cuda", _EACH_RANKS_OWN)}
            if at is not None and at < len(args) and _is_ranks_own(args[at]):
                args = (*args[:at], torch.device("cuda", _EACH_RANKS_OWN), *args[at + 1 :])
            return original(*args, **options)

        return function

    return make


def index_of_ranks_gpu(original: Callable[..., int]) -> Callable[..., int]:
    """`_get_device_index`, which takes no number that differs between ranks."""

    @functools.wraps(original)
    def index(device: Any, *args: Any, **kwargs: Any) -> int:
        return original(_EACH_RANKS_OWN if _is_ranks_own(device) else device, *args, **kwargs)

    return index


def _index_in(name: Any) -> Any:
    if not isinstance(name, str):
        return name
    text = MarkedText(name)
    return number_of_ranks(
        {rank: int(text.on_rank(rank).removeprefix("cuda:")) for rank in text.ranks}
    )


def _set_device(original: Callable[..., None], device: Any) -> None:
    """`torch.cuda.set_device` and the like, which keep the number by which ranks name their GPUs.

    A torch.device has lost it: after one was made of such a number, `cuda:0` is taken for that.
    """
    original(device)
    gpu = _running[-1]
    is_own = isinstance(device, torch.device) and device.index == _EACH_RANKS_OWN
    named = gpu.named if is_own and gpu.named is not None else device
    gpu.current = _index_in(named) if _is_ranks_own(named) else _C.current_gpu()


def _current_device(original: Callable[[], int]) -> Any:
    """`torch.cuda.current_device` and the like: the number differs between ranks where the program asks."""
    index = original()
    if index != _EACH_RANKS_OWN or is_of_library(calling_file(3)):
        return index
    return _running[-1].current


_FACTORIES = (
    *(
        "arange",
        "as_tensor",
        "asarray",
        "bartlett_window",
        "blackman_window",
        "empty",
        "empty_like",
    ),
    *(
        "empty_permuted",
        "empty_strided",
        "eye",
        "full",
        "full_like",
        "hamming_window",
        "hann_window",
    ),
    *("kaiser_window", "linspace", "logspace", "normal", "ones", "ones_like", "rand", "rand_like"),
    *("randint", "randint_like", "randn", "randn_like", "randperm", "range", "scalar_tensor"),
    *("sparse_coo_tensor", "tensor", "tril_indices", "triu_indices", "zeros", "zeros_like"),
)
_METHODS = ("new_empty", "new_empty_strided", "new_full", "new_ones", "new_tensor", "new_zeros")
_WHY = "takes no number of each rank"
_SETTERS = (("torch.cuda", "set_device"), ("torch.accelerator", "set_device_index"))
_GETTERS = (("torch.cuda", "current_device"), ("torch.accelerator", "current_device_index"))
_FORGETS, _GIVES_ONE = "forgets ranks' own numbers", "gives one rank's number"

ROWS = (
    *(Row("torch", name, _taking_own_gpu(None), _WHY) for name in _FACTORIES),
    *(Row("torch:Tensor", name, _taking_own_gpu(None), _WHY) for name in _METHODS),
    Row("torch:Tensor", "to", _taking_own_gpu(1), _WHY),
    Row("torch:Tensor", "cuda", _taking_own_gpu(1), _WHY),
    Row("torch._C._nn", "_parse_to", _taking_own_gpu(0), _WHY),
    Row("torch.accelerator._utils", "_get_device_index", index_of_ranks_gpu, _WHY),
    *(Row(owner, name, with_original(_set_device), _FORGETS) for owner, name in _SETTERS),
    *(Row(owner, name, with_original(_current_device), _GIVES_ONE) for owner, name in _GETTERS),
)
