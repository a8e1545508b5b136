"""What operators take for themselves, as a forecast's report and torch.cuda's statistics see it."""

from __future__ import annotations

import re
from pathlib import Path

import polyrank
import pytest
import torch
from polyrank import _C
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

MIB = 2**20
DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(autouse=True)
def default_workspaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")


@pytest.mark.parametrize(
    ("cluster", "size"), [("dgx-h100", 32 * MIB), ("dgx-a100-80", 8 * MIB + 128 * 1024)]
)
def test_cublas_has_a_workspace_for_the_program_and_one_for_backward(
    cluster: str, size: int
) -> None:
    with polyrank.forecast(cluster) as f:
        weight = torch.empty(256, 256, device="cuda", requires_grad=True)
        weight @ weight
        tensors = 256 * 256 * 4
        assert torch.cuda.memory_allocated() == tensors + size
        (weight @ weight).sum().backward()
        assert torch.cuda.memory_allocated() == 2 * tensors + 2 * size
        torch._C._cuda_clearCublasWorkspaces()
        assert torch.cuda.memory_allocated() == 2 * tensors
    assert f.memory.peak is not None
    # A sum's gradient is one number everywhere, of which cuBLAS takes a whole copy.
    assert f.memory.peak.by_owner["workspaces"] == 2 * size + tensors
    assert "workspaces" in f.report()


def test_each_stream_has_a_workspace_of_its_own() -> None:
    with polyrank.forecast("dgx-h100"):
        x = torch.empty(64, 64, device="cuda")
        for _ in range(2):
            with torch.cuda.stream(torch.cuda.Stream()):
                x @ x
        assert torch.cuda.memory_allocated() == 64 * 64 * 4 + 2 * 32 * MIB
        torch.backends.cuda.cublas_workspace_size(MIB)
        x @ x
        assert torch.cuda.memory_allocated() == 64 * 64 * 4 + 65 * MIB


def test_a_forecast_begins_without_the_workspaces_of_the_one_before() -> None:
    for _ in range(2):
        with polyrank.forecast("dgx-h100") as f:
            x = torch.empty(64, 64, device="cuda")
            assert torch.cuda.memory_allocated() == 64 * 64 * 4
            x @ x
        assert f.memory.peak_allocated == 2 * 64 * 64 * 4 + 32 * MIB


def test_flash_attentions_backward_is_the_count_by_hand() -> None:
    with polyrank.forecast("dgx-h100") as f:
        q, k, v = (
            torch.empty(2, 8, 4096, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
            for _ in range(3)
        )
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            out = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        gradient = torch.empty_like(out)
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        out.backward(gradient)
        one = 2 * 8 * 4096 * 64 * 2
        inside = 2 * one + 2 * 8 * 4096 * 4  # dq in float, and a float for each row
        assert torch.cuda.max_memory_allocated() == before + 3 * one + inside
    assert f.memory.peak is not None
    assert f.memory.peak.by_owner["workspaces"] == inside
    assert f.memory.peak.phase == "backward"


def test_what_an_operator_takes_for_itself_is_reserved() -> None:
    """A sort's copies make a segment that stays in reserve."""
    with polyrank.forecast("dgx-h100"):
        x = torch.empty(50 * MIB, device="cuda")
        x.sort()
        made = 50 * MIB * (4 + 8) + 50 * MIB * 4  # values, places, what is sorted
        inside = 50 * MIB * 8 + 50 * MIB * 12
        assert torch.cuda.memory_allocated() == 50 * MIB * 4
        assert torch.cuda.max_memory_allocated() == made + inside
        assert torch.cuda.memory_reserved() == made + inside


def test_out_of_memory_within_an_operator_leaves_nothing_behind() -> None:
    with polyrank.forecast("dgx-a100-40"):
        x = torch.empty(2**31, device="cuda")  # 8 GiB
        with pytest.raises(torch.OutOfMemoryError):
            x.sort()
        assert torch.cuda.memory_allocated() == x.nbytes


def test_the_docs_list_every_row() -> None:
    page = (DOCS / "forecast.md").read_text()
    for operation, _, certainty, source in _C.inner_memory_table():
        row = re.search(rf"^.*`{operation.removeprefix('aten::')}`.*$", page, re.MULTILINE)
        assert row is not None, operation
        assert certainty in row.group(), operation
        assert source.split()[0].split("/")[-1] in row.group() or certainty == "supposed", operation
