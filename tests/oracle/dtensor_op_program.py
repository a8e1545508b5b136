"""An operator on DTensors, as PyTorch's own test class for its simulator runs it.

The samples are those of PyTorch's OpInfo database, the placements those of its DTensorConverter.
Which simulator runs it depends on what `torch.distributed._local_tensor` holds at that moment.
"""

from __future__ import annotations

import itertools
import unittest
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from oracle.op_samples import clone_exactly
from oracle.rank_by_rank import tensor_difference
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.debug import _clear_sharding_prop_cache
from torch.testing._internal.distributed._tensor import common_dtensor
from torch.testing._internal.distributed._tensor.common_dtensor import (
    DTensorConverter,
    DTensorTestBase,
    with_comms,
)
from torch.utils import _pytree as pytree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch.testing._internal.opinfo.core import OpInfo, SampleInput

NUM_RANKS = 4
_SEED = 0


@dataclass(frozen=True)
class Limits:
    """How many samples of an operator are run, and in how many placements each."""

    samples: int
    placements: int


@dataclass
class Outcome:
    """What an operator gave: the local tensors of its results and gradients, rank by rank.

    `error` is the first that PyTorch's test class reported: an exception, or a full tensor that is
    not what a single device computes.
    """

    results: list[Mapping[int, Tensor]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)  # where each of the results comes from
    error: str | None = None


class OperatorProgram(DTensorTestBase):
    """Runs one operator on every sample in every placement, and checks each full tensor."""

    __test__ = False  # here it is only what the test class is made of

    op: OpInfo
    limits: Limits
    outcome: Outcome
    compare_values: bool

    @property
    def world_size(self) -> int:
        return NUM_RANKS

    @with_comms
    def test_operator(self) -> None:
        mesh = self.build_device_mesh()
        for index, sample in enumerate(_samples(self.op, self.limits.samples)):
            arguments = ([sample.input, *sample.args], dict(sample.kwargs))
            with common_dtensor.maybe_disable_local_tensor_mode():
                expected = _run(self.op, *_copied(arguments), cotangent=torch.ones_like)
            converter = DTensorConverter(mesh, *_copied(arguments))
            for converted in itertools.islice(converter, self.limits.placements):
                self.assertTrue(converter.successful(), "a tensor that DTensor can't hold")
                actual = _run(self.op, *converted, cotangent=_distributed_ones)
                self._compare(f"sample {index}, {_placements(converted)}", actual, expected)

    def _compare(self, place: str, actual: Sequence[Any], expected: Sequence[Any]) -> None:
        self.assertEqual(len(actual), len(expected), place)
        for ours, theirs in zip(actual, expected, strict=True):
            if not isinstance(ours, DTensor):
                if not isinstance(ours, Tensor):
                    self.assertEqual(ours, theirs, place)
                continue
            full = ours.full_tensor()
            if self.compare_values:
                self.assertEqual(full, theirs, place)
            else:
                self.assertEqual(full.shape, theirs.shape, place)
            self.outcome.results.append(_on_each_rank(ours.to_local()))
            self.outcome.places.append(f"{place} -> {ours.placements}")


def outcome_of(op: OpInfo, limits: Limits, *, compare_values: bool) -> Outcome:
    """Run the operator in whatever simulator is installed."""
    made: Any = common_dtensor.create_local_tensor_test_class(OperatorProgram)
    program = made("test_operator")
    program.op, program.limits, program.compare_values = op, limits, compare_values
    program.outcome = Outcome()
    report = unittest.TestResult()
    program.run(report)
    assert report.testsRun == 1
    if torch.distributed.is_initialized():  # a failed test leaves its group behind
        torch.distributed.destroy_process_group()
    _clear_sharding_prop_cache()  # its keys hold the mesh of a group that is gone
    problems = [text for _, text in (*report.errors, *report.failures, *report.skipped)]
    if problems:
        program.outcome.error = _shorten(problems[0])
    return program.outcome


def _shorten(traceback: str) -> str:
    """The exception, without the frames that led to it and PyTorch's advice how to run the test."""
    lines = traceback.split("To execute this test", maxsplit=1)[0].strip().splitlines()
    first = max(i for i, line in enumerate(lines) if line and not line.startswith((" ", "Trace")))
    return "\n".join(lines[first:])


def first_difference(actual: Outcome, expected: Outcome, *, values: bool) -> str | None:
    """Where `actual` first differs from what `expected` got to, in words; None if nowhere."""
    for index, place in enumerate(expected.places):
        if index == len(actual.places):
            return f"{place}: {actual.error or 'no such result'}"
        if actual.places[index] != place:
            return f"expected {place}, got {actual.places[index]}"
        for rank in range(NUM_RANKS):
            ours, theirs = actual.results[index][rank], expected.results[index][rank]
            difference = tensor_difference(ours, theirs, values=values)
            if difference is not None:
                return f"{place}, rank {rank}: {difference}"
    return None if expected.error is not None else actual.error


def _samples(op: OpInfo, limit: int) -> Iterator[SampleInput]:
    # Drawn for one device: samples are what all ranks agree on.
    with common_dtensor.maybe_disable_local_tensor_mode():
        torch.manual_seed(_SEED)
        samples = op.sample_inputs("cpu", torch.float32, requires_grad=op.supports_autograd)
        drawn = list(itertools.islice(samples, limit))
    yield from drawn


def _copied(tree: Any) -> Any:
    with common_dtensor.maybe_disable_local_tensor_mode():
        return pytree.tree_map_only(Tensor, clone_exactly, tree)


def _run(op: OpInfo, args: Sequence[Any], kwargs: dict[str, Any], *, cotangent: Any) -> list[Any]:
    """The leaves of the operator's result, and the gradients of its arguments."""
    torch.manual_seed(_SEED)
    results = pytree.tree_leaves(op.op(*args, **kwargs))
    inputs = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if _takes_gradient(leaf)]
    roots = [result for result in results if _takes_gradient(result)]
    if not inputs or not roots:
        return results
    cotangents = [cotangent(root) for root in roots]
    return [*results, *torch.autograd.grad(roots, inputs, cotangents, allow_unused=True)]


def _takes_gradient(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.requires_grad


def _distributed_ones(root: Tensor) -> Tensor:
    # ones_like() of a Partial would be ones on each rank, which add up to more than one.
    is_partial = isinstance(root, DTensor) and any(p.is_partial() for p in root.placements)
    return torch.ones_like(root.redistribute(placements=_replicated(root)) if is_partial else root)


def _replicated(tensor: DTensor) -> list[Replicate]:
    return [Replicate()] * tensor.device_mesh.ndim


def _placements(tree: Any) -> str:
    leaves = pytree.tree_leaves(tree)
    return " ".join(str(*leaf.placements) for leaf in leaves if isinstance(leaf, DTensor))


def _on_each_rank(tensor: Any) -> Mapping[int, Tensor]:
    if hasattr(tensor, "wait"):
        tensor = tensor.wait()
    with common_dtensor.maybe_disable_local_tensor_mode():
        if not isinstance(tensor, common_dtensor.LocalTensor):
            return dict.fromkeys(range(NUM_RANKS), tensor.detach().clone())
        return {r: tensor._local_tensors[r].detach().clone() for r in range(NUM_RANKS)}
