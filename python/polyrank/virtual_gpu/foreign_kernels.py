"""Kernels that others write or compile for a GPU: what would run one says that a virtual GPU can't."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from polyrank.errors import UnsupportedOpError
from polyrank.replacing.row import Row, with_original

__all__ = ["ROWS"]

_WHY = "would build or launch a kernel for a GPU, which a virtual one can't run"


def _refuse(what: str, instead: str) -> Callable[..., Any]:
    def refusing(original: Callable[..., Any], *_: Any, **__: Any) -> Any:
        raise UnsupportedOpError(
            f"{what} has no GPU to run on: tensors on `cuda` are on virtual GPUs, whose memory "
            f"(`data_ptr()`) is the host's and whose operators are the CPU's. {instead}"
        )

    return refusing


_triton_driver = _refuse(
    "a Triton kernel",
    "Take the library's path without Triton, or set TRITON_INTERPRET=1: Triton then interprets kernels.",
)
_compiled_kernel = _refuse(
    "a kernel that torch.cuda compiles from CUDA's source", "Write it with PyTorch's operators."
)
_cuda_extension = _refuse(
    "an extension with CUDA sources",
    "Take the library's path without it, or compile the C++ sources alone.",
)


def _jit_compile(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Extensions of C++ alone are compiled as on any machine."""
    sources = kwargs.get("sources", args[1] if len(args) > 1 else ())
    if kwargs.get("with_cuda", args[9] if len(args) > 9 else None) or _has_cuda_source(sources):  # noqa: PLR2004 (its place in the signature)
        return _cuda_extension(original)
    return original(*args, **kwargs)


def _has_cuda_source(sources: str | Sequence[str]) -> bool:
    names = [sources] if isinstance(sources, str) else sources
    return any(os.fspath(name).endswith((".cu", ".cuh")) for name in names)


ROWS = (
    Row("triton.runtime.driver", "_create_driver", with_original(_triton_driver), _WHY),
    Row("torch.cuda", "_compile_kernel", with_original(_compiled_kernel), _WHY, is_optional=True),
    Row("torch.utils.cpp_extension", "_jit_compile", with_original(_jit_compile), _WHY),
)
