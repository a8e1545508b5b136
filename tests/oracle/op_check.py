"""Runs one sample of an operator on all ranks at once and on each rank alone, and compares."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import polyrank
import torch
from oracle.op_samples import NUM_RANKS, SEED_OF_VARIANT, RankSample, local_of_variants
from oracle.rank_by_rank import (
    difference_on_ranks,
    local_int,
    num_cohorts,
)
from oracle.simulator import alone_in_simulator, alone_out_of_simulator
from torch import Tensor
from torch.testing._internal.common_utils import DeterministicGuard
from torch.utils import _pytree as pytree

# Called with the sample's leaves; returns the operator's result.
Program = Callable[[list[Any]], Any]


@dataclass(frozen=True)
class Way:
    """Which values each rank holds.

    `variants[rank]` is the variant of each leaf; `max_cohorts` is the number of cohorts that
    results can have.
    """

    name: str
    variants: tuple[tuple[int, ...], ...]
    rng_variants: tuple[int, ...]
    max_cohorts: int

    @property
    def variants_of_leaf(self) -> list[tuple[int, ...]]:
        return list(zip(*self.variants, strict=True))


def ways(sample: RankSample) -> Iterator[Way]:
    """The ways in which ranks can hold the values of a sample."""
    ranks = range(NUM_RANKS)
    num_leaves = len(sample.leaves)

    def all_leaves(variant_of_rank: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        return tuple((v,) * num_leaves for v in variant_of_rank)

    yield Way("distinct", all_leaves(ranks), tuple(ranks), NUM_RANKS)
    yield Way("shared", all_leaves((0,) * NUM_RANKS), (0,) * NUM_RANKS, 1)
    pairs = tuple(rank % 2 for rank in ranks)
    yield Way("two_cohorts", all_leaves(pairs), pairs, 2)
    tensors = sample.tensor_leaves
    if len(tensors) > 1:
        chosen = tensors[(sample.index + 1) % len(tensors)]
        mixed = tuple(
            tuple(r if leaf == chosen else 0 for leaf in range(num_leaves)) for r in ranks
        )
        yield Way("one_distinct", mixed, (0,) * NUM_RANKS, NUM_RANKS)


@dataclass(frozen=True)
class Reference:
    """What one rank alone computes; `error` instead if it raises."""

    outputs: Any = None
    cotangents: Sequence[Tensor] = ()
    gradients: Sequence[Tensor | None] = ()
    arguments: Sequence[Any] = ()  # the leaves after the call: in-place operators change them
    error: Exception | None = None


class SampleCheck:
    """Compares the results of one program on one sample, each way.

    With `twice`, gradients are made with `create_graph=True` and differentiated again. With `of_subclass`,
    the reference of a rank is what it computes as PyTorch's own LocalTensor.
    """

    def __init__(
        self,
        program: Program,
        sample: RankSample,
        *,
        backward: bool,
        twice: bool = False,
        of_subclass: bool = False,
    ) -> None:
        self._program = program
        self._sample = sample
        self._backward = backward
        self._twice = twice
        self._of_subclass = of_subclass
        self._references: dict[tuple[tuple[int, ...], int], Reference] = {}

    def failure(self, way: Way) -> str | None:
        """What is wrong when the ranks hold their values in this way; None if all is right.

        Some kernels of PyTorch leave part of their result unwritten, or read memory that they never
        wrote (the pivots of LAPACK's gelsy). Such a result is defined once fresh memory is: so
        where only values differ, both sides run again with fresh memory filled, and that counts.
        """
        difference, only_values = self._compare(way)
        if not only_values:
            return difference
        with DeterministicGuard(True, warn_only=True, fill_uninitialized_memory=True):
            again = SampleCheck(
                self._program,
                self._sample,
                backward=self._backward,
                twice=self._twice,
                of_subclass=self._of_subclass,
            )
            return again._compare(way)[0]

    def _compare(self, way: Way) -> tuple[str | None, bool]:
        """What is wrong, and whether it is only that tensors hold other values."""
        expected = {
            rank: self._reference(way.variants[rank], way.rng_variants[rank])
            for rank in range(NUM_RANKS)
        }
        errors = [reference.error for reference in expected.values() if reference.error is not None]
        try:
            actual = self._run_on_all_ranks(way, {} if errors else expected)
        except polyrank.UnsupportedOpError as error:
            return None if errors or self._is_sparse(expected) else _describe(error), False
        except polyrank.DivergenceError as error:
            return None if errors or _diverges(expected) else _describe(error), False
        except Exception as error:  # noqa: BLE001 (whatever an operator raises)
            return None if errors else _describe(error), False
        if errors:
            return f"expected {_describe(errors[0])}, got a result", False
        difference = self._difference(actual, expected, way, values=True)
        if difference is None:
            return None, False
        return difference, self._difference(actual, expected, way, values=False) is None

    def _difference(
        self, actual: Reference, expected: Mapping[int, Reference], way: Way, *, values: bool
    ) -> str | None:
        for part in ("outputs", "arguments", "gradients"):
            difference = difference_on_ranks(
                getattr(actual, part),
                {rank: getattr(reference, part) for rank, reference in expected.items()},
                values=values,
            )
            if difference is not None:
                return f"{part}: {difference}"
        for part in ("outputs", "gradients"):
            for leaf in pytree.tree_leaves(getattr(actual, part)):
                if isinstance(leaf, polyrank.LocalTensor) and num_cohorts(leaf) > way.max_cohorts:
                    return f"{part}: {num_cohorts(leaf)} cohorts where {way.max_cohorts} suffice"
        return None

    def _reference(self, variants: tuple[int, ...], rng_variant: int) -> Reference:
        key = (variants, rng_variant)
        if key not in self._references:
            torch.random.default_generator.manual_seed(SEED_OF_VARIANT[rng_variant])
            try:
                reference = self._evaluate_alone(variants)
            except (Exception, polyrank.DivergenceError) as error:  # noqa: BLE001 (whatever an operator raises)
                reference = Reference(error=error)
            self._references[key] = reference
        return self._references[key]

    def _evaluate_alone(self, variants: tuple[int, ...]) -> Reference:
        leaves, seed = self._sample.plain(variants), sum(variants)
        if not self._of_subclass:
            return self._evaluate(leaves, None, seed)
        reference = self._evaluate([alone_in_simulator(leaf) for leaf in leaves], None, seed)
        parts = {field.name: getattr(reference, field.name) for field in fields(reference)}
        return Reference(**pytree.tree_map(alone_out_of_simulator, parts))

    def _run_on_all_ranks(self, way: Way, expected: Mapping[int, Reference]) -> Reference:
        leaves = self._sample.local(way.variants_of_leaf)
        seeds = [SEED_OF_VARIANT[v] for v in way.rng_variants]
        cotangents = [
            local_of_variants(
                [reference.cotangents[i] for reference in expected.values()],
                _first_equal(list(zip(way.variants, way.rng_variants, strict=True))),
            )
            for i in range(len(expected[0].cotangents) if expected else 0)
        ]
        # No operator asks for the rank, and entering the mode is much quicker without it.
        with polyrank.LocalTensorMode(NUM_RANKS, rank_dependent_get_rank=False):
            torch.manual_seed(seeds[0] if len(set(seeds)) == 1 else local_int(seeds))
            return self._evaluate(leaves, cotangents)

    def _evaluate(
        self, leaves: list[Any], cotangents: Sequence[Tensor] | None, seed: int = 0
    ) -> Reference:
        outputs = self._program(leaves)
        if not self._backward:
            return Reference(outputs, arguments=leaves)
        roots = [
            leaf
            for leaf in pytree.tree_leaves(self._sample.sample.output_process_fn_grad(outputs))
            if isinstance(leaf, Tensor) and leaf.requires_grad and leaf.layout == torch.strided
        ]
        inputs = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.requires_grad]
        if not roots or not inputs:
            return Reference(outputs, arguments=leaves)
        if cotangents is None:
            cotangents = [_cotangent(root, seed) for root in roots]
        gradients = torch.autograd.grad(
            roots, inputs, cotangents, allow_unused=True, create_graph=self._twice
        )
        if self._twice:
            gradients = (*gradients, *_differentiated_again(gradients, inputs))
        return Reference(outputs, cotangents, gradients, leaves)

    def _is_sparse(self, expected: Mapping[int, Reference]) -> bool:
        results = [(reference.outputs, reference.gradients) for reference in expected.values()]
        return not self._sample.has_only_strided_tensors or any(
            isinstance(leaf, Tensor) and leaf.layout != torch.strided
            for leaf in pytree.tree_leaves(results)
        )


def _differentiated_again(
    gradients: Sequence[Tensor | None], inputs: Sequence[Tensor]
) -> Sequence[Tensor | None]:
    roots = [gradient for gradient in gradients if gradient is not None and gradient.requires_grad]
    if not roots:
        return ()
    cotangents = [torch.linspace(1, 2, root.numel(), dtype=root.dtype) for root in roots]
    cotangents = [c.reshape(root.shape) for c, root in zip(cotangents, roots, strict=True)]
    return torch.autograd.grad(roots, inputs, cotangents, allow_unused=True)


def _cotangent(root: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(root.shape, dtype=root.dtype, generator=generator)


def _first_equal(items: Sequence[Any]) -> list[int]:
    """For each item, the index of the first that equals it."""
    return [items.index(item) for item in items]


def _diverges(expected: Mapping[int, Reference]) -> bool:
    """Whether ranks return numbers that are not integers, and that differ."""
    leaves = [pytree.tree_leaves(reference.outputs) for reference in expected.values()]
    return len({len(of_rank) for of_rank in leaves}) > 1 or any(
        not isinstance(values[0], Tensor) and any(value != values[0] for value in values)
        for values in zip(*leaves, strict=True)
    )


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip()[:600]}"
