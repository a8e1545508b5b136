"""How long a call takes on the current GPU, by CUDA's events."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch

from polyrank.errors import UsageError

__all__ = ["GpuTimer", "check_gpu"]

_WARM_UPS = 3
_ROUNDS = 5
_LEAST_SECONDS = 0.02  # of a round: events tell half a microsecond, and clocks take time to settle
_MOST_CALLS = 500
_PLUG = 16384  # rows and columns of matrices whose product takes some 5 to 30 ms


def check_gpu() -> None:
    """Raise UsageError if there is no GPU that torch can use."""
    if not torch.cuda.is_available():
        why = "this torch is built without CUDA" if torch.version.cuda is None else "it finds none"
        raise UsageError(f"calibrate measures a GPU, and torch has none here: {why}")


class GpuTimer:
    """Seconds of one call, without the CPU's time to launch it.

    A long kernel runs first, while the CPU launches the calls: when they begin, all are there.
    """

    def __init__(self) -> None:
        self._plug = torch.zeros(_PLUG, _PLUG, device="cuda", dtype=torch.bfloat16)
        self._plugged = torch.empty_like(self._plug)

    def __call__(self, call: Callable[[], object]) -> float:
        for _ in range(_WARM_UPS):
            call()
        once = max(self._round(call, 1), 1e-7)
        calls = min(_MOST_CALLS, max(1, round(_LEAST_SECONDS / once)))
        return statistics.median(self._round(call, calls) for _ in range(_ROUNDS))

    def _round(self, call: Callable[[], object], calls: int) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        torch.mm(self._plug, self._plug, out=self._plugged)
        start.record()
        for _ in range(calls):
            call()
        end.record()
        torch.cuda.synchronize()
        return float(start.elapsed_time(end)) * 1e-3 / calls
