"""PyTorch's profiler on virtual GPUs, on which no kernel runs that it could record."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from polyrank.replacing.row import Row, with_original

__all__ = ["ROWS"]


@functools.cache
def _tell() -> None:
    warnings.warn(
        "the profiler records the CPU alone: on a virtual GPU no kernels run. `polyrank forecast --trace FILE` "
        "writes when they would",
        stacklevel=2,
    )


def _profile_init(
    original: Callable[..., None],
    profile: Any,
    *args: Any,
    use_cuda: bool = False,
    use_device: str | None = None,
    use_cpu: bool = True,
    **options: Any,
) -> None:
    """Leaves the GPU out: PyTorch's profiler would print a traceback for each operator."""
    if use_cuda or use_device == "cuda":
        _tell()
        use_device, use_cpu = None, True
    original(profile, *args, use_device=use_device, use_cpu=use_cpu, **options)


ROWS = (
    Row(
        "torch.autograd.profiler:profile",
        "__init__",
        with_original(_profile_init),
        "records events of CUDA for each operator",
    ),
)
