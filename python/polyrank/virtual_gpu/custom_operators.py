"""Operators that a program defines in Python, on GPUs without bytes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch._library.custom_ops import _maybe_get_opdef

from polyrank.errors import UnsupportedOpError
from polyrank.replacing.row import Row, with_original

__all__ = ["ROWS"]


def _can_generate_trivial_fake_impl(
    original: Callable[..., bool], op: torch._ops.OpOverload
) -> bool:
    """Whether an operator's results are known without a shape function, as of one that returns nothing.

    PyTorch asks it of an operator of `torch.library.custom_op` that has none, and ends with an error that
    tells of compilers.
    """
    is_known = original(op)
    definition = None if is_known else _maybe_get_opdef(op._name)
    if definition is not None and definition._abstract_fn is None:
        raise UnsupportedOpError(
            f"{op._name} has no shape function, by which a virtual GPU without bytes could know its "
            f'results. Register one with torch.library.register_fake("{definition._qualname}"), or '
            f"`@{definition._name}.register_fake`: it makes results of the right shape, by torch.empty_like "
            "or new_empty."
        )
    return is_known


ROWS = (
    Row(
        "torch._library.utils",
        "can_generate_trivial_fake_impl",
        with_original(_can_generate_trivial_fake_impl),
        "says of a custom operator without a shape function that compilers need one",
    ),
)
