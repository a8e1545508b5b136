"""Which variables of the environment something asks for while it is imported."""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import Any

__all__ = ["AskedVariables", "first_difference"]

# What compiled libraries and the interpreter read, at a time that nobody sees, by how the names begin.
_READ_BY_LIBRARIES = (
    *("LD_", "LC_", "LANG", "LOCPATH", "MALLOC_", "GLIBC_", "TZ", "NSS_", "RES_"),  # C
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "DNNL_", "ONEDNN_", "TBB_", "ITT_"),
    *("TORCH", "PYTORCH", "ATEN_", "AT_", "C10_", "CAFFE2_", "FBGEMM_", "NNPACK_", "XNNPACK_"),
    *("GLOO_", "NCCL_", "UCC_", "UCX_", "MPI_", "OMPI_", "PMI", "TP_", "TENSORPIPE_", "KINETO_"),
    *("CUDA", "CUBLAS", "CUDNN", "NVIDIA_", "HIP", "ROC", "HSA_", "SYCL", "ZE_", "XPU_"),
    *("TQDM_", "GLOG_", "GRPC_", "ASAN_", "LSAN_", "TSAN_", "UBSAN_", "PYTHON", "POLYRANK_"),
)
# Modules that go through all variables for those whose names begin so as the above has it: the others mean
# nothing to them. PyTorch imports tqdm where it is installed.
_LOOKING_THROUGH = frozenset({"tqdm.utils"})
# What is read in each run: options of commands, the mutation that a run is given, and what sys.path says anyway.
_READ_BY_RUNS = ("POLYRANK_RUN_", "POLYRANK_SERVE", "POLYRANK_MUTATION", "PYTHONPATH")


def _is_read_by_libraries(name: str) -> bool:
    """Whether it may have a meaning for what is compiled."""
    return name.startswith(_READ_BY_LIBRARIES) and not name.startswith(_READ_BY_RUNS)


def _is_looked_through(reader: FrameType) -> bool:
    """Whether `items()` of the whole environment reads, for one who takes few of them."""
    caller = reader.f_back
    return (
        reader.f_globals.get("__name__") == "collections.abc"
        and caller is not None
        and caller.f_globals.get("__name__") in _LOOKING_THROUGH
    )


class AskedVariables:
    """Notes which variables Python code asks for, from now until stop()."""

    def __init__(self) -> None:
        self.values = dict(os.environ)  # of all variables, at the start
        self._names: set[str] = set()
        self._kind: Any = type(os.environ)
        self._original = original = self._kind.__getitem__
        names = self._names

        def getitem(environment: Any, key: Any) -> Any:
            if not _is_looked_through(sys._getframe(1)):
                names.add(os.fsdecode(key) if isinstance(key, bytes) else key)
            return original(environment, key)

        # On the class: `os.environ` is reached by whoever holds it, and by get(), getenv() and `in`.
        type.__setattr__(self._kind, "__getitem__", getitem)

    def stop(self) -> set[str]:
        """Note no more; the names."""
        type.__setattr__(self._kind, "__getitem__", self._original)
        return self._names


def first_difference(asked: set[str], one: dict[str, str], other: dict[str, str]) -> str | None:
    """A variable that counts and differs; None: there is none."""
    for name in sorted({*one, *other}):
        is_equal = one.get(name) == other.get(name)
        if not is_equal and (name in asked or _is_read_by_libraries(name)):
            return name
    return None
