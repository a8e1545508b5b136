"""The bases that `torch.cuda.Stream` and `torch.cuda.Event` have in a PyTorch with CUDA."""

from __future__ import annotations

from typing import Any

import torch

from polyrank import _C

__all__ = ["CudaEventBase", "CudaStreamBase"]

_STREAMS_PER_POOL = 32  # as kStreamsPerPool of rank_gpus.h


class CudaStreamBase(torch.Stream):
    """As `torch._C._CudaStreamBase`: a new stream of the current GPU, or the one that is named."""

    def __new__(
        cls,
        priority: int = 0,
        stream_id: int | None = None,
        device_index: int | None = None,
        device_type: int | None = None,
        stream_ptr: int = 0,
    ) -> CudaStreamBase:
        """Make the object."""
        lowest, highest = cls.priority_range()
        priority = min(max(priority, highest), lowest)
        if stream_ptr:
            stream_id, device_index, device_type = _C.gpu_stream_of_handle(
                stream_ptr, _C.current_gpu()
            )
        elif stream_id is None or device_index is None or device_type is None:
            stream_id, device_index, device_type = _C.new_gpu_stream(_C.current_gpu(), priority)
        return super().__new__(
            cls, stream_id=stream_id, device_index=device_index, device_type=device_type
        )

    @property
    def priority(self) -> int:
        """The priority that it was made with, within the range that there is; its id says which."""
        return -1 if self.stream_id > _STREAMS_PER_POOL else 0

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
