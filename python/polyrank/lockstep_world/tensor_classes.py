"""Tensors of a program's own classes, which a tensor of all ranks at once can't be."""

from __future__ import annotations

from typing import Any

import torch

from polyrank.errors import UnsupportedOpError
from polyrank.replacing.row import Row, with_original
from polyrank.tensor.local_tensor import LocalTensor

__all__ = ["ROWS"]


def _refuse(cls: type, data: object) -> None:
    if isinstance(data, LocalTensor):
        raise UnsupportedOpError(
            f"{cls.__module__}.{cls.__qualname__} is a class of tensors, and a tensor of all ranks at once "
            "would be none of it: `isinstance` and its methods would not know it. Keep what the class says "
            "in an attribute or in a set of names, or run the program in another world "
            "(`polyrank run --world processes`)."
        )


def _new_parameter(
    original: Any, cls: type, data: torch.Tensor | None = None, requires_grad: bool = True
) -> Any:
    if cls is not torch.nn.Parameter:
        _refuse(cls, data)
    return original(cls, data, requires_grad)


def _make_subclass(original: Any, cls: type, data: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    _refuse(cls, data)
    return original(cls, data, *args, **kwargs)


def _as_subclass(original: Any, data: torch.Tensor, cls: type) -> Any:
    if cls is not LocalTensor:
        _refuse(cls, data)
    return original(data, cls)


ROWS = (
    Row(
        "torch.nn.parameter:Parameter",
        "__new__",
        with_original(_new_parameter),
        "gives a parameter that is none of a subclass, without a word",
    ),
    Row(
        "torch:Tensor",
        "_make_subclass",
        with_original(_make_subclass),
        "says that there is a Python object already",
    ),
    Row(
        "torch:Tensor",
        "as_subclass",
        with_original(_as_subclass),
        "says that there is a Python object already",
    ),
)
