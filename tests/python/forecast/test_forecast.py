"""What a forecast says, beside counts by hand."""

from __future__ import annotations

import pickle
import random
import warnings
from pathlib import Path
from typing import Any

import polyrank
import pytest
import torch
from polyrank.errors import UnsupportedOpError, UsageError
from polyrank.forecast.report import write_snapshot
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.utils.checkpoint import checkpoint

MIB = 2**20
WIDTH = 1024
WEIGHT = WIDTH * WIDTH * 4  # bytes of one layer's weight


def model_of(num_layers: int) -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(num_layers))).cuda()


def train(model: nn.Module, batch: int, steps: int = 2) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for _ in range(steps):
        loss = model(torch.randn(batch, WIDTH, device="cuda")).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def test_owners_are_what_a_count_by_hand_says() -> None:
    layers, batch = 4, 64
    with polyrank.forecast() as f:
        train(model_of(layers), batch)
    memory = f.memory
    assert memory.fits
    assert memory.peak is not None
    owners = memory.peak.by_owner
    assert sum(owners.values()) == memory.peak_allocated
    assert owners["parameters"] == layers * WEIGHT
    assert owners["gradients"] == layers * WEIGHT
    # Two moments; and a step counter of its own for each parameter.
    assert owners["optimizer states"] == 2 * layers * WEIGHT + layers * 512
    assert memory.peak.step == 2
    assert [step.step for step in memory.steps] == [1, 2, 3][: len(memory.steps)]
    assert "fits" in f.report()


def test_what_is_saved_for_backward_is_gone_with_checkpointing() -> None:
    def saved(*, is_checkpointed: bool, batch: int) -> int:
        with polyrank.forecast() as f:
            x = torch.randn(batch, WIDTH, device="cuda", requires_grad=True)
            for layer in model_of(8):
                block = nn.Sequential(layer, nn.GELU())
                x = checkpoint(block, x, use_reentrant=False) if is_checkpointed else block(x)
            x.sum().backward()
        assert f.memory.peak is not None
        return f.memory.peak.by_owner.get("saved for backward", 0)

    activation = 1024 * WIDTH * 4
    # Each layer's output, and that of its GELU, which the next one keeps.
    assert saved(is_checkpointed=False, batch=1024) == pytest.approx(16 * activation, rel=0.1)
    assert saved(is_checkpointed=True, batch=1024) <= 10 * activation


def test_out_of_memory_is_raised_at_the_same_operator_each_time() -> None:
    def failing() -> tuple[int, str]:
        held: list[torch.Tensor] = []
        with polyrank.forecast("dgx-a100-40") as f, pytest.raises(torch.OutOfMemoryError) as error:
            while True:
                held.append(torch.empty(3 * 2**28, device="cuda"))
        assert not f.memory.fits
        assert "does not fit" in f.report()
        return len(held), str(error.value)

    first, again = failing(), failing()
    assert first == again
    assert first[0] == 13  # 3 GiB each, of 39.5 GiB less the context
    assert "Tried to allocate 3.00 GiB" in first[1]


def test_reads_are_told_with_their_line_or_refused() -> None:
    with polyrank.forecast() as f:
        loss = torch.rand(3, device="cuda").sum()
        if loss.item() == 1.0:
            assert not bool(loss > 2)
        chosen = torch.rand(5, device="cuda")[torch.rand(5, device="cuda") > 0]
        assert chosen.shape == (5,)
    reads = {read.operation: read for read in f.memory.reads}
    assert reads["item()"].line.partition(":")[0].endswith("test_forecast.py")
    assert "every element" in reads["index()"].assumed
    assert "item()" in f.report()
    with polyrank.forecast(on_read="error"), pytest.raises(UnsupportedOpError, match="reads data"):
        torch.rand(3, device="cuda").sum().item()
    with pytest.raises(UsageError), polyrank.forecast(on_read="guess"):
        pass


@pytest.mark.parametrize("write", [torch.save, pickle.dump])
def test_what_is_written_to_a_file_is_a_read(write: Any, tmp_path: Path) -> None:
    file = tmp_path / "tensor"
    with polyrank.forecast() as f, file.open("wb") as opened:
        write(torch.empty(5, device="cuda"), opened)
    # Its bytes.
    assert [read.assumed for read in f.memory.reads] == ["all elements are 1"]


def test_attention_keeps_no_matrix() -> None:
    with polyrank.forecast():
        q = torch.empty(1, 8, 8192, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
        before = torch.cuda.memory_allocated()
        out = nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True)
        # The output, and a float for each row and head.
        extra = torch.cuda.memory_allocated() - before - out.numel() * 2
        assert 8 * 8192 * 4 <= extra < 8 * 8192 * 4 + MIB
        out.sum().backward()
        assert q.grad is not None
        assert q.grad.shape == q.shape


def test_attention_that_keeps_a_matrix() -> None:
    """In double no kernel but the plain one is left, with or without a mask."""
    for mask in (None, torch.ones(256, 256, dtype=torch.bool)):
        with polyrank.forecast():
            q = torch.empty(1, 8, 256, 64, device="cuda", dtype=torch.double, requires_grad=True)
            before = torch.cuda.memory_allocated()
            on_gpu = None if mask is None else mask.cuda()
            out = nn.functional.scaled_dot_product_attention(q, q, q, attn_mask=on_gpu)
            assert torch.cuda.memory_allocated() - before >= 8 * 256 * 256 * 8
            out.sum().backward()
            assert q.grad is not None


def test_attention_with_a_mask_keeps_none_in_half_precision() -> None:
    with polyrank.forecast():
        q = torch.empty(1, 8, 1024, 64, device="cuda", dtype=torch.half, requires_grad=True)
        mask = torch.ones(1024, 1024, dtype=torch.bool, device="cuda")
        before = torch.cuda.memory_allocated()
        out = nn.functional.scaled_dot_product_attention(q, q, q, attn_mask=mask)
        # The mask as a number that is added, one for all heads.
        assert torch.cuda.memory_allocated() - before <= 2 * q.numel() * 2 + 1024 * 1024 * 2
        out.sum().backward()


def test_a_snapshot_opens_in_pytorchs_viewer(tmp_path: Path) -> None:
    from torch.cuda import _memory_viz

    with polyrank.forecast() as f:
        model = model_of(2)
        train(model, 16)
    file = tmp_path / "snapshot.pickle"
    write_snapshot(f, file)
    snapshot = pickle.loads(file.read_bytes())
    assert "MEM[" in _memory_viz.trace(snapshot)
    for picture in (_memory_viz.trace_plot, _memory_viz.segment_plot):
        assert "MemoryViz" in picture(snapshot)
    # What is left: the model, in the allocator's segments.
    assert "20.0MiB allocated" in _memory_viz.segsum(snapshot)
    blocks = [block for segment in snapshot["segments"] for block in segment["blocks"]]
    live = sum(one["size"] for one in blocks if one["state"] == "active_allocated")
    assert live == 2 * WEIGHT
    # Playing the trace through gives the same.
    held: dict[int, int] = {}
    for entry in snapshot["device_traces"][0]:
        if entry["action"] == "alloc":
            held[entry["addr"]] = entry["size"]
        elif entry["action"] == "free_completed":
            del held[entry["addr"]]
    assert sum(held.values()) == live
    assert len(list(model.parameters())) == 2


@pytest.mark.parametrize("devices", [None, "cuda"])
@pytest.mark.parametrize("is_defined_before", [True, False])
def test_kernels_of_others_are_their_shape_functions(
    devices: str | None, is_defined_before: bool
) -> None:
    name = f"polyrank_tests::twice_{devices}_{is_defined_before}"

    def define() -> Any:
        @torch.library.custom_op(name, mutates_args=(), device_types=devices)
        def twice(x: torch.Tensor) -> torch.Tensor:
            raise AssertionError("a kernel of a GPU")

        @twice.register_fake
        def _(x: torch.Tensor) -> torch.Tensor:
            return x.new_empty(2 * x.numel())

        return twice

    twice = define() if is_defined_before else None
    with polyrank.forecast():
        twice = twice or define()
        x = torch.ones(1000, device="cuda")
        before = torch.cuda.memory_allocated()
        assert twice(x).shape == (2000,)
        held = twice(x)
        assert torch.cuda.memory_allocated() - before == 8192
        assert held.is_cuda


def test_what_was_there_before_is_told() -> None:
    with polyrank.forecast():
        held = torch.empty(2**20, device="cuda")
    with polyrank.forecast() as f:
        more = torch.empty(2**20, device="cuda")
        assert torch.cuda.memory_allocated() == 8 * 2**20
    assert f.memory.peak is not None
    assert f.memory.peak.by_owner == {"from before": 2**22, "inputs and others": 2**22}
    assert held.is_cuda
    assert more.is_cuda


def test_a_rank_that_uses_two_gpus_is_told_the_fuller_one() -> None:
    with polyrank.forecast() as f:
        held = [torch.empty(2**20 * (gpu + 1), device=f"cuda:{gpu}") for gpu in range(2)]
    assert f.memory.peak is not None
    assert f.memory.peak_allocated == 2**23
    assert f.memory.peak.by_owner == {"inputs and others": 2**23}
    assert len(held) == 2


@pytest.mark.parametrize("seed", range(5))
def test_live_bytes_are_those_of_live_storages(seed: int) -> None:
    """Random operators, views, in-place writes and lifetimes, beside an independent count."""
    draw = random.Random(seed)
    with polyrank.forecast():
        tensors: list[torch.Tensor] = []
        for _ in range(200):
            choice = draw.randrange(6)
            if choice == 0 or len(tensors) < 2:
                tensors.append(torch.empty(draw.randrange(1, 5000), device="cuda"))
            elif choice == 1:
                tensors.append(draw.choice(tensors)[:1] + draw.choice(tensors)[:1])
            elif choice == 2:
                tensors.append(draw.choice(tensors).view(-1)[::2])
            elif choice == 3:
                draw.choice(tensors).mul_(2)
            elif choice == 4:
                tensors.append(draw.choice(tensors).clone())
            else:
                tensors.pop(draw.randrange(len(tensors)))
            sizes = {
                one.untyped_storage()._cdata: one.untyped_storage().nbytes() for one in tensors
            }
            expected = sum(-(-size // 512) * 512 for size in sizes.values())
            assert torch.cuda.memory_allocated() == expected


def test_a_norm_is_one_kernel_that_keeps_a_number_a_row() -> None:
    with polyrank.forecast() as f:
        norm = nn.RMSNorm(WIDTH, device="cuda", dtype=torch.bfloat16)
        x = torch.empty(16, 4, WIDTH, device="cuda", dtype=torch.bfloat16, requires_grad=True)
        before = torch.cuda.memory_allocated()
        y = norm(x)
        assert y.stride() == x.stride()
        assert torch.cuda.memory_allocated() == before + y.nbytes + 512  # 64 floats
        y.backward(torch.empty_like(y))
        assert x.grad is not None
        assert norm.weight.grad is not None
    operations = [piece.operation for piece in f.history.pieces()]
    assert operations.count("aten::_fused_rms_norm") == 2
    assert "aten::rsqrt" not in operations


def test_compiling_warns_of_no_hooks_that_the_program_has_not(
    recwarn: pytest.WarningsRecorder,
) -> None:
    before = list(warnings.filters)
    with polyrank.forecast() as f:
        torch.compile(nn.Linear(WIDTH, 1000, device="cuda"))(torch.empty(3, WIDTH, device="cuda"))
    assert not [one for one in recwarn if "global hooks" in str(one.message)]
    assert list(warnings.filters) == before
    assert "MiB" in f.report()  # less than a hundredth of a GiB


def test_workspaces_are_of_the_module_that_runs() -> None:
    class Net(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[x > 0]

    with polyrank.forecast() as f:
        Net()(torch.empty(2**20, device="cuda"))
    assert f.memory.peak is not None
    assert f.memory.peak.by_owner["workspaces"] == 2**23
    assert set(f.memory.peak.by_module) == {"Net"}


def test_what_fsdp_gathers_is_communication_and_not_saved() -> None:
    """The root's parameters stay gathered until backward, as what is saved does."""
    with polyrank.forecast(world_size=8) as f:
        model = model_of(4)
        fully_shard(model)
        train(model, batch=8)
    memory = f.memory
    assert memory.peak is not None
    assert memory.peak.step == 2
    assert memory.peak.by_owner["communication"] >= 4 * WEIGHT
    assert memory.peak.by_owner.get("saved for backward", 0) < WEIGHT
