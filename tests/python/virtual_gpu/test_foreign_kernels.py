"""Kernels for GPUs that others write are one error; what needs no GPU runs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from polyrank.errors import UnsupportedOpError
from torch.utils import cpp_extension
from torch.utils._triton import has_triton_package

TRITON = "def _create_driver():\n    raise RuntimeError('0 active drivers')\n"


@pytest.fixture
def triton_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Triton's module that looks for a GPU, or a stand-in where Triton is not installed."""
    names = ("triton", "triton.runtime", "triton.runtime.driver")
    if has_triton_package():  # which torch asks once, and is not to take the stand-in for Triton
        yield importlib.import_module(names[-1])
    else:
        folder = tmp_path / "triton" / "runtime"
        folder.mkdir(parents=True)
        (folder.parent / "__init__.py").touch()
        (folder / "__init__.py").touch()
        (folder / "driver.py").write_text(TRITON)
        monkeypatch.syspath_prepend(str(tmp_path))
        yield importlib.import_module(names[-1])
        for name in names:
            del sys.modules[name]


def test_a_triton_kernel_is_one_error(triton_driver: Any) -> None:
    with pytest.raises(UnsupportedOpError, match=r"Triton kernel has no GPU.*TRITON_INTERPRET=1"):
        triton_driver._create_driver()


@pytest.mark.skipif(not hasattr(torch.cuda, "_compile_kernel"), reason="this torch has it not")
def test_cuda_source_is_refused() -> None:
    with pytest.raises(UnsupportedOpError, match="PyTorch's operators"):
        torch.cuda._compile_kernel("", "kernel")


@pytest.mark.parametrize(
    ("sources", "with_cuda"), [(["a.cpp", "b.cu"], None), ("b.cu", None), (["a.cpp"], True)]
)
def test_extensions_with_cuda_sources_are_refused(sources: Any, with_cuda: Any) -> None:
    with pytest.raises(UnsupportedOpError, match="an extension with CUDA sources has no GPU"):
        cpp_extension.load("extension", sources, with_cuda=with_cuda)


def test_extensions_without_are_compiled() -> None:
    with pytest.raises(ValueError, match="mutually exclusive"):  # PyTorch's own words: it went on
        cpp_extension.load("extension", ["a.cpp"], is_standalone=True)


def test_a_data_pointer_is_the_hosts() -> None:
    x = torch.arange(3.0, device="cuda")
    assert x.data_ptr() != 0
    assert x.data_ptr() == x.untyped_storage().data_ptr()
