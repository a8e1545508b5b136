"""Operators that PyTorch has for GPUs alone: they run, or one sentence says why not and what does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import polyrank
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from torch.nn.attention import SDPBackend, sdpa_kernel


def test_products_may_have_a_wider_dtype() -> None:
    a, b = (torch.randn(4, 4).bfloat16() for _ in range(2))
    wide = torch.mm(a.cuda(), b.cuda(), out_dtype=torch.float32)
    assert torch.equal(wide.cpu(), a.float() @ b.float())
    assert torch.equal(torch.mm(a, b), wide.cpu().bfloat16())
    with pytest.raises(RuntimeError, match="out_dtype must be the same as input dtype or fp32"):
        torch.mm(a.cuda(), b.cuda(), out_dtype=torch.float64)
    with pytest.raises(NotImplementedError):  # as without virtual GPUs
        torch.mm(a, b, out_dtype=torch.float32)


@pytest.mark.skipif(not hasattr(F, "linear_cross_entropy"), reason="not in this torch")
def test_linear_cross_entropy_in_chunks_has_the_values_of_one() -> None:
    x = torch.randn(6, 4, device="cuda", dtype=torch.bfloat16)
    weight = torch.randn(5, 4, device="cuda", dtype=torch.bfloat16)
    target = torch.tensor([0, 1, 2, 3, 4, 0], device="cuda")
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=2)
    chunked = F.linear_cross_entropy(x, weight, target, options=options)
    whole = F.cross_entropy((x.float() @ weight.float().t()), target)
    torch.testing.assert_close(chunked.float(), whole, rtol=2e-2, atol=2e-2)


def attention_of_heads() -> list[Tensor]:
    """Of DTensors whose heads are sharded: the output, and the gradient of the queries."""
    mesh = init_device_mesh("cuda", (dist.get_world_size(),))
    torch.manual_seed(2)
    whole = [torch.randn(2, 4, 8, 16, device="cuda") for _ in range(3)]
    query, key, value = (distribute_tensor(one, mesh, [Shard(1)]).requires_grad_() for one in whole)
    output = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    assert output.placements == (Shard(1),)
    output.square().sum().backward()
    return [one.full_tensor().detach().cpu() for one in (output, query.grad)]  # type: ignore[attr-defined]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("world", ["threads", "processes", "lockstep"])
def test_attention_of_dtensors_is_attention(world: str) -> None:
    with polyrank.lockstep(1):
        expected = attention_of_heads()
    if world == "lockstep":
        with polyrank.lockstep(2):
            results = attention_of_heads()
            found = [[on_rank(one, rank) for one in results] for rank in range(2)]
    else:
        found = polyrank.run_ranks(attention_of_heads, 2, world=world)
    for of_rank in found:
        for one, other in zip(of_rank, expected, strict=True):
            torch.testing.assert_close(one, other)


def on_rank(result: Tensor, rank: int) -> Tensor:
    return result.on_rank(rank) if isinstance(result, polyrank.LocalTensor) else result


@pytest.mark.parametrize("kernel", [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION])
@pytest.mark.parametrize("in_lockstep", [False, True])
def test_a_program_may_choose_a_gpus_kernel_of_attention(
    kernel: SDPBackend, in_lockstep: bool
) -> None:
    def attention() -> list[Tensor]:
        x = torch.randn(1, 4, 16, 64, device="cuda", dtype=torch.float16, requires_grad=True)
        output = F.scaled_dot_product_attention(x, x, x)
        output.sum().backward()
        return [output.detach(), x.grad]  # type: ignore[list-item]

    with polyrank.lockstep(2) if in_lockstep else contextlib.nullcontext():
        torch.manual_seed(1)
        with sdpa_kernel(kernel):
            found = attention()
        torch.manual_seed(1)
        for one, expected in zip(found, attention(), strict=True):
            torch.testing.assert_close(on_rank(one, 0), on_rank(expected, 0), rtol=1e-2, atol=1e-2)


@pytest.mark.usefixtures("installed")
def test_attention_of_dtensors_that_drops_is_made_of_parts() -> None:
    with polyrank.lockstep(1):
        mesh = init_device_mesh("cuda", (1,))
        x = distribute_tensor(torch.ones(1, 2, 4, 8, device="cuda"), mesh, [Shard(1)])
        dropped = F.scaled_dot_product_attention(x, x, x, dropout_p=1.0)
        assert dropped.full_tensor().count_nonzero() == 0


@pytest.mark.parametrize(
    ("call", "remedy"),
    [
        (
            lambda x: torch.ops.aten._flash_attention_forward(
                *[x[None]] * 3, None, None, 8, 8, 0.0, False, False
            ),
            "torch.nn.functional.scaled_dot_product_attention runs",
        ),
        (lambda x: torch.ops.aten._fused_dropout(x, 0.5), "torch.nn.functional.dropout runs"),
        (lambda x: torch._cslt_compress(x[0]), "Run what uses it on a real GPU"),
    ],
)
def test_what_can_not_run_is_told(call: Callable[[Tensor], object], remedy: str) -> None:
    x = torch.ones(2, 8, 8, device="cuda", dtype=torch.bfloat16)
    begin = r"Could not run 'aten::\w+' with arguments from the 'CUDA' backend: "
    with pytest.raises(NotImplementedError, match=begin + "PyTorch has it for GPUs alone") as error:
        call(x)
    assert remedy in str(error.value)
