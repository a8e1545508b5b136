"""NCCL's name in torch.distributed: there where virtual GPUs are, and served by gloo in host memory.

The worlds whose ranks this library runs answer for every backend themselves. Left are groups of real
processes: what `ProcessGroupNCCL` makes there hands the tensors' memory, which is the host's, to gloo.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from torch._C._distributed_c10d import Backend, ProcessGroupGloo, Store

from polyrank import _C

__all__ = ["DEFAULT_TIMEOUT", "ProcessGroupNCCL"]

DEFAULT_TIMEOUT = timedelta(minutes=10)  # of NCCL's groups, where PyTorch has it


class _MakesBackends(type):
    """The backends that a class makes are instances of it, though C++ keeps no object of Python's."""

    def __call__(cls, store: Store, rank: int, size: int, options: Any) -> _C.HostBackend:
        return _C.HostBackend(
            ProcessGroupGloo(store, rank, size, timeout=options._timeout), options
        )

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, _C.HostBackend)


class ProcessGroupNCCL(metaclass=_MakesBackends):
    """As `torch.distributed.ProcessGroupNCCL`: its options, and a constructor that makes a backend."""

    NCCL_CTA_POLICY_DEFAULT = 0
    NCCL_CTA_POLICY_EFFICIENCY = 1
    NCCL_CTA_POLICY_ZERO = 2

    class NCCLConfig:
        """Settings of a communicator, which are kept and change nothing."""

    class Options(Backend.Options):
        """What a program may ask of a group; all but the time limit changes nothing."""

        def __init__(self, is_high_priority_stream: bool = False) -> None:
            """Make those of a new group."""
            super().__init__("nccl")
            self._timeout = DEFAULT_TIMEOUT
            self.is_high_priority_stream = is_high_priority_stream
            self.config = ProcessGroupNCCL.NCCLConfig()
            self.split_from: Any = None
            self.split_color = -1
