"""The bases that `torch.cuda.Stream` and `torch.cuda.Event` have in a PyTorch with CUDA."""

from __future__ import annotations

from typing import Any

import torch

from polyrank import _C

__all__ = ["CudaEventBase", "CudaStreamBase"]


class CudaStreamBase(torch.Stream):
    """As `torch._C._CudaStreamBase`: a new stream of the current GPU, or the one that is named."""

    _priority: int

    def __new__(
        cls,
        priority: int = 0,
        stream_id: int | None = None,
        device_index: int | None = None,
        device_type: int | None = None,
        stream_ptr: int = 0,
    ) -> CudaStreamBase:
        """Make the object."""
        if stream_id is None or device_index is None or device_type is None:
            stream_id, device_index, device_type = _C.new_gpu_stream(_C.current_gpu())
        made = super().__new__(
            cls, stream_id=stream_id, device_index=device_index, device_type=device_type
        )
        lowest, highest = cls.priority_range()
        made._priority = min(max(priority, highest), lowest)
        return made

    @property
    def priority(self) -> int:
        """The priority that it was made with, within the range that there is."""
        return self._priority

    @property
    def cuda_stream(self) -> int:
        """What stands for CUDA's handle."""
        return self.stream_id

    @staticmethod
    def priority_range() -> tuple[int, int]:
        """Lowest and highest priority."""
        return 0, -1


class CudaEventBase(torch.Event):
    """As `torch._C._CudaEventBase`: an event of the current GPU."""

    _has_time: bool

    def __new__(
        cls,
        enable_timing: bool = False,
        blocking: bool = False,
        interprocess: bool = False,
        external: bool = False,
    ) -> CudaEventBase:
        """Make the object."""
        made: Any = super().__new__(
            cls,
            torch.device("cuda", _C.current_gpu()),
            enable_timing=enable_timing,
            blocking=blocking,
            interprocess=interprocess,
        )
        made._has_time = enable_timing
        return made  # type: ignore[no-any-return]

    def elapsed_time(self, other: Any) -> float:
        """Milliseconds from this event to `other`."""
        if not (self._has_time and other._has_time):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        return _C.elapsed_gpu_time(self.event_id, other.event_id)

    @property
    def cuda_event(self) -> int:
        """What stands for CUDA's handle; 0 before the event is recorded."""
        return self.event_id
