"""Runs a program in lockstep and compares it with what the ranks of real processes got."""

from __future__ import annotations

import warnings

import polyrank
import torch
from collectives.programs import Groups, Program


def on_rank(tensor: torch.Tensor, rank: int) -> torch.Tensor:
    return tensor.on_rank(rank) if isinstance(tensor, polyrank.LocalTensor) else tensor


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)


def run_in_lockstep(program: Program, groups: Groups) -> list[torch.Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return program(polyrank.rank_map, groups)


def differences(tensors: list[torch.Tensor], expected: list[list[torch.Tensor]]) -> list[str]:
    """Where a rank's tensors are not what it got from gloo; `expected` is by rank."""
    mode = polyrank.local_tensor_mode()
    assert mode is not None
    with mode.disable():
        return [
            f"rank {rank}, tensor {i}: {got} != {of_gloo}"
            for rank, of_rank in enumerate(expected)
            for i, of_gloo in enumerate(of_rank)
            if not same_bits(got := on_rank(tensors[i], rank), of_gloo)
        ]
