"""Ring attention of `context_parallel()`, by kernels that PyTorch has for GPUs alone, is attention."""

from __future__ import annotations

import polyrank
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from polyrank.errors import DivergenceError
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor.experimental import context_parallel
from torch.distributed.tensor.experimental._attention import context_parallel_unshard
from torch.nn.attention import SDPBackend, sdpa_kernel

RANKS = 2
LENGTH = 128  # a rank's chunks are whole tiles of efficient attention, as CUDA's must be
FLASH, EFFICIENT, CUDNN = (
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
)


def operands(dtype: torch.dtype) -> list[torch.Tensor]:
    torch.manual_seed(3)
    return [torch.randn(1, 2, LENGTH, 16, dtype=dtype, device="cuda") for _ in range(3)]


def attention(operands: list[torch.Tensor]) -> list[torch.Tensor]:
    """Causal attention, and the gradients of its squares' sum."""
    leaves = [operand.detach().clone().requires_grad_() for operand in operands]
    output = F.scaled_dot_product_attention(*leaves, is_causal=True)
    output.square().sum().backward()
    return [output.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def in_parallel(kernel: SDPBackend, dtype: torch.dtype) -> list[torch.Tensor]:
    """The same by all ranks, of which each holds chunks of the sequence."""
    mesh = init_device_mesh("cuda", (dist.get_world_size(),))
    held = operands(dtype)
    with sdpa_kernel(kernel), context_parallel(mesh, buffers=held, buffer_seq_dims=[2, 2, 2]):
        found = context_parallel_unshard(mesh, attention(held), [2] * 4)
    return [one.float().cpu() for one in found]


@pytest.mark.parametrize("world", ["threads", "processes"])
@pytest.mark.parametrize(
    ("kernel", "dtype"),
    [(FLASH, torch.bfloat16), (EFFICIENT, torch.float32), (CUDNN, torch.float16)],
)
def test_ranks_that_hold_parts_compute_the_whole(
    world: str, kernel: SDPBackend, dtype: torch.dtype
) -> None:
    expected = [one.cpu() for one in attention([one.float() for one in operands(dtype)])]
    tolerance = 1e-4 if dtype is torch.float32 else 5e-2
    for found in polyrank.run_ranks(in_parallel, RANKS, kernel, dtype, world=world):
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def test_a_rank_in_a_block_changes_nothing_for_one_that_is_not() -> None:
    def program() -> bool:
        mesh = init_device_mesh("cuda", (dist.get_world_size(),))
        held = operands(torch.bfloat16)
        before = attention(held)
        if dist.get_rank() == 0:
            with context_parallel(mesh, buffers=[torch.ones(LENGTH)], buffer_seq_dims=[0]):
                dist.barrier()  # rank 1 computes meanwhile
                dist.barrier()
        else:
            dist.barrier()
            after = attention(held)
            dist.barrier()
            assert all(map(torch.equal, before, after))
        return all(map(torch.equal, before, attention(held)))

    assert polyrank.run_ranks(program, RANKS) == [True, True]


@pytest.mark.usefixtures("installed")
def test_lockstep_says_that_ranks_take_different_ways() -> None:
    with (
        polyrank.lockstep(RANKS),
        pytest.raises(DivergenceError, match="ranks disagree about a branch"),
    ):
        in_parallel(FLASH, torch.bfloat16)
