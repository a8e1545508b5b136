"""Samples of PyTorch's OpInfo database, with other values for each rank."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from polyrank import LocalTensor
from torch import Tensor
from torch.utils import _pytree as pytree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch.testing._internal.opinfo.core import OpInfo, SampleInput

NUM_RANKS = 4

# A *variant* is one of the NUM_RANKS sets of values that a sample exists with.
SEED_OF_VARIANT = (20, 21, 22, 23)

_DTYPES = (torch.float32, torch.complex64, torch.int64, torch.bool, torch.float64)


def first_dtype(op: OpInfo) -> torch.dtype:
    """float32, or the first other dtype of a short list that the operator takes."""
    supported = op.supported_dtypes("cpu")
    return next((dtype for dtype in _DTYPES if dtype in supported), min(supported, key=str))


@dataclass(frozen=True)
class RankSample:
    """A sample with NUM_RANKS variants of each tensor in it.

    Leaves of the sample that are not tensors are the same in all variants.
    """

    index: int
    leaves: tuple[Sequence[Any], ...]  # for each leaf its NUM_RANKS variants
    spec: pytree.TreeSpec  # of (input, args, kwargs)
    sample: SampleInput  # variant 0, for its output_process_fn_grad

    @property
    def tensor_leaves(self) -> list[int]:
        """Indices of the leaves that are tensors."""
        return [i for i, variants in enumerate(self.leaves) if isinstance(variants[0], Tensor)]

    @property
    def has_only_strided_tensors(self) -> bool:
        return all(self.leaves[i][0].layout == torch.strided for i in self.tensor_leaves)

    def plain(self, variant_of_leaf: Sequence[int]) -> list[Any]:
        """Fresh copies of the leaves that one rank has."""
        return [
            clone_exactly(variants[v]) if isinstance(variants[0], Tensor) else variants[0]
            for variants, v in zip(self.leaves, variant_of_leaf, strict=True)
        ]

    def local(self, variants_of_leaf: Sequence[Sequence[int]]) -> list[Any]:
        """The leaves of all ranks: for each leaf, the variant that each rank has.

        Ranks that have the same variant are given the same tensor: they are one cohort.
        """
        return [
            local_of_variants(leaf, variants) if isinstance(leaf[0], Tensor) else leaf[0]
            for leaf, variants in zip(self.leaves, variants_of_leaf, strict=True)
        ]


def local_of_variants(leaf: Sequence[Tensor], variants: Sequence[int]) -> LocalTensor:
    """The LocalTensor that holds a copy of `leaf[variants[rank]]` on each rank."""
    copies = {v: clone_exactly(leaf[v]).detach() for v in set(variants)}
    return LocalTensor(
        {rank: copies[v] for rank, v in enumerate(variants)}, requires_grad=leaf[0].requires_grad
    )


def clone_exactly(tensor: Tensor) -> Tensor:
    """A copy with the same strides, offset and bits, in memory of its own; a leaf of autograd."""
    with torch.no_grad():
        if tensor.is_conj():
            copy = clone_exactly(tensor.conj()).conj()
        elif tensor.is_neg():
            copy = torch._neg_view(clone_exactly(torch._neg_view(tensor)))
        elif tensor.layout != torch.strided:
            copy = tensor.detach().clone()
        else:
            storage = tensor.untyped_storage().clone()
            copy = torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(
                storage, tensor.storage_offset(), tensor.shape, tensor.stride()
            )
    return copy.detach().requires_grad_(tensor.requires_grad)


def rank_samples(op: OpInfo, dtype: torch.dtype, limit: int) -> Iterator[RankSample]:
    """The first `limit` samples of an operator, each with NUM_RANKS variants.

    A variant is the same sample, drawn with another seed: so indices stay in range and matrices
    positive definite. A leaf whose shape, too, depends on the seed is the same in all variants.
    """
    requires_grad = op.supports_autograd and (dtype.is_floating_point or dtype.is_complex)
    drawn = [_draw(op, dtype, requires_grad, seed, limit) for seed in SEED_OF_VARIANT]
    for index, variants in enumerate(zip(*drawn, strict=False)):
        flat = [pytree.tree_flatten((s.input, s.args, s.kwargs)) for s in variants]
        base_leaves, spec = flat[0]
        leaves = []
        for position, base in enumerate(base_leaves):
            others = [f[position] if other == spec else base for f, other in flat[1:]]
            leaves.append([base, *(o if _interchangeable(base, o) else base for o in others)])
        yield RankSample(index, tuple(leaves), spec, variants[0])


def _draw(
    op: OpInfo, dtype: torch.dtype, requires_grad: bool, seed: int, limit: int
) -> list[SampleInput]:
    torch.random.default_generator.manual_seed(seed)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (PyTorch's samples draw from this one)
    return list(
        itertools.islice(op.sample_inputs("cpu", dtype, requires_grad, set_seed=False), limit)
    )


def _interchangeable(base: Any, other: Any) -> bool:
    if not isinstance(base, Tensor) or not isinstance(other, Tensor):
        return False
    names = ("shape", "dtype", "layout", "requires_grad")
    if any(getattr(base, name) != getattr(other, name) for name in names):
        return False
    return base.layout != torch.strided or base.stride() == other.stride()
