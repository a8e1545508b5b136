"""What a PyTorch without CUDA can't do with storages on `cuda`, and what nobody may do with one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from polyrank import _C
from polyrank.errors import UnsupportedOpError

__all__ = ["no_foreign_kernels", "storage_on_gpu", "storage_resized_on_gpu", "through_the_host"]


def storage_on_gpu(original: Callable[..., Any]) -> Callable[..., Any]:
    """`UntypedStorage.__new__` that makes empty ones of a size on a GPU too."""

    @functools.wraps(original)
    def new(cls: type, *args: Any, device: Any = None, **kwargs: Any) -> Any:
        if device is None or torch.device(device).type != "cuda":
            if device is not None:
                kwargs["device"] = device
            return original(cls, *args, **kwargs)
        with torch.cuda.device(device):
            if args and not isinstance(args[0], int):
                values = torch.tensor(args[0], dtype=torch.uint8)
                return values.cuda().untyped_storage()
            return _C.new_gpu_storage(args[0] if args else 0)

    return new


def storage_resized_on_gpu(original: Callable[..., Any]) -> Callable[..., Any]:
    """`UntypedStorage.resize_` for storages on a GPU too."""

    @functools.wraps(original)
    def resize_(self: torch.UntypedStorage, size: int) -> Any:
        if self.device.type != "cuda":
            return original(self, size)
        _C.resize_gpu_storage(self, size)
        return self

    return resize_


def through_the_host(original: Callable[..., Any]) -> Callable[..., Any]:
    """A method of `UntypedStorage` that reads raw memory: of a storage on a GPU its copy's."""

    @functools.wraps(original)
    def read(self: torch.UntypedStorage, *args: Any) -> Any:
        source = self.cpu() if self.device.type == "cuda" else self  # type: ignore[no-untyped-call]
        return original(source, *args)

    return read


def no_foreign_kernels(original: Callable[..., Any]) -> Callable[..., Any]:
    """A function that gives a tensor's memory away as a GPU's: refused for tensors on one."""

    @functools.wraps(original)
    def give(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if tensor.device.type == "cuda":
            raise UnsupportedOpError(
                f"this tensor is on {tensor.device}, a virtual GPU whose memory is the host's: a "
                "kernel of another library would read it as a GPU's. Move it to the CPU first."
            )
        return original(tensor, *args, **kwargs)

    return give
