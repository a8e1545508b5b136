"""All that torch's Python asks of `torch._C` by CUDA's names is there on virtual GPUs, or refused by name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from polyrank.errors import UnsupportedOpError

TORCH = Path(torch.__file__).parent
# AMD's library, and what torch's own tests alone put back.
ELSEWHERE = ("_cuda_getHipblasltVersion", "_cuda_resetCublas")


def asked_of_c(source: Path) -> Iterator[str]:
    """Names that a file takes from `torch._C`."""
    text = source.read_text(encoding="utf-8", errors="replace")
    if "torch._C" not in text:
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "torch._C":
            yield node.attr
        if isinstance(node, ast.ImportFrom) and node.module == "torch._C":
            yield from (alias.name for alias in node.names)


def test_each_name_is_there() -> None:
    asked = {
        name
        for folder in ("cuda", "backends", "_inductor", "_dynamo", "distributed", "optim", "utils")
        for source in (TORCH / folder).rglob("*.py")
        for name in asked_of_c(source)
        if name.startswith(("_cuda_", "_nccl_", "_cudnn_", "_host_"))
    }
    assert len(asked) > 80
    lacking = sorted(name for name in asked if not hasattr(torch._C, name))
    assert [name for name in lacking if not name.startswith(ELSEWHERE)] == []


def test_compilers_caches_are_reset() -> None:
    compiled = torch.compile(lambda x: x * 2, backend="eager")
    assert compiled(torch.ones(2, device="cuda")).tolist() == [2, 2]
    torch._dynamo.reset()
    assert compiled(torch.ones(3, device="cuda")).tolist() == [2, 2, 2]


def test_settings_that_change_no_value_are_kept() -> None:
    assert not torch.cuda.tunable.is_enabled()
    torch.cuda.tunable.enable(True)
    torch.cuda.tunable.set_max_tuning_iterations(7)
    assert torch.cuda.tunable.is_enabled()
    assert torch.cuda.tunable.get_max_tuning_iterations() == 7
    torch.cuda.tunable.enable(False)
    assert not torch.cuda.tunable.is_enabled()
    assert torch.cuda.tunable.get_results() == ()
    torch.cuda.memory._set_memory_metadata("step 3")
    assert torch.cuda.memory._get_memory_metadata() == "step 3"
    torch.cuda.memory._set_memory_metadata("")


def test_workspaces_of_both_blas_libraries_are_one() -> None:
    before = torch.backends.cuda.cublas_workspace_size()
    assert torch.backends.cuda.cublaslt_workspace_size(before // 2) == before // 2
    assert torch.backends.cuda.cublas_workspace_size(before) == before


def test_a_gpu_that_was_not_used_has_no_memory() -> None:
    keep = torch.ones(3, device="cuda:0")
    assert torch._C._cuda_hasPrimaryContext(keep.get_device())
    assert not torch._C._cuda_hasPrimaryContext(1)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: torch.cuda.nccl.all_reduce([torch.ones(2, device="cuda")]),
        lambda: torch.cuda.nccl.unique_id(),
    ],
)
def test_collectives_of_one_process_are_refused_by_name(ask: object) -> None:
    with pytest.raises(UnsupportedOpError, match=r"torch\.cuda\.nccl.* use torch\.distributed"):
        ask()  # type: ignore[operator]
