"""torch.cuda's memory functions answer from the model of CUDA's caching allocator."""

from __future__ import annotations

import pytest
import torch

MIB = 2**20


def test_reserved_memory_is_in_segments() -> None:
    before = torch.cuda.memory_reserved()
    held = torch.empty(3 * MIB, dtype=torch.uint8, device="cuda")
    assert torch.cuda.memory_reserved() - before in (0, 20 * MIB)
    stats = torch.cuda.memory_stats()
    assert stats["allocated_bytes.large_pool.current"] >= 3 * MIB
    assert stats["reserved_bytes.all.current"] == torch.cuda.memory_reserved()
    del held
    torch.cuda.empty_cache()
    assert torch.cuda.memory_allocated() <= torch.cuda.memory_reserved()


def test_a_snapshot_opens_in_pytorchs_viewer() -> None:
    from torch.cuda import _memory_viz

    held = torch.empty(5 * MIB, dtype=torch.uint8, device="cuda")
    snapshot = torch.cuda.memory._snapshot()
    text = _memory_viz.segsum(snapshot)
    assert "20.0MiB" in text
    assert "active_allocated" in {
        block["state"] for segment in snapshot["segments"] for block in segment["blocks"]
    }
    assert held.is_cuda


def test_settings_of_the_allocator_are_pytorchs() -> None:
    torch.cuda.empty_cache()
    torch._C._accelerator_setAllocatorSettings("expandable_segments:True")
    try:
        held = torch.empty(700 * MIB, dtype=torch.uint8, device="cuda")
        segments = torch.cuda.memory._snapshot()["segments"]
        assert any(one["is_expandable"] and one["total_size"] == 700 * MIB for one in segments)
    finally:
        torch._C._accelerator_setAllocatorSettings("expandable_segments:False")
    with pytest.raises(Exception, match="max_split_size_mb too small"):
        torch._C._accelerator_setAllocatorSettings("max_split_size_mb:1")
    assert held.is_cuda
