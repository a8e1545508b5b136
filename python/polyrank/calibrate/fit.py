"""Figures of a table of speeds from measured times.

Each figure is one of forecast/speeds.py, with its meaning there; the model of a matmul's time is the core's own.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from polyrank import _C
from polyrank.calibrate.probes import AttentionTime, MatmulTime, Measured
from polyrank.errors import UsageError
from polyrank.forecast.speeds import MATHS, GpuTable, gpu_speeds

__all__ = ["Fitted", "fitted"]

_GIGA, _TERA, _MICRO, _NANO = 1e9, 1e12, 1e-6, 1e-9
_OVERHEADS = range(0, 1025, 16)  # elements of k
_MOST_OF_MEMORY = 0.7  # of a matmul's time


@dataclass(frozen=True)
class Fitted:
    """A figure, and how far off times by it are from those that were measured, on average."""

    value: float
    count: int  # of times
    off: float  # relative

    def __str__(self) -> str:
        times = "1 time" if self.count == 1 else f"{self.count} times, off by {self.off:.1%}"
        return f"{self.value:.6g} ({times})"


def fitted(measured: Measured, table: GpuTable, multiprocessors: int) -> dict[str, Fitted]:
    """Figures by their names; `table` has the GPU's peaks.

    Raises:
        UsageError: what was measured is faster than the peaks: the table is of another GPU.
    """
    kernel = measured.kernel_seconds
    memory = measured.memory.bytes / (measured.memory.seconds - kernel)
    figures = {
        "kernel_us": Fitted(kernel / _MICRO, 1, 0),
        "memory_efficiency": Fitted(memory / (table.value("memory_gb_s") * _GIGA), 1, 0),
        "host_copy_gb_s": Fitted(
            measured.host.bytes / (measured.host.seconds - kernel) / _GIGA, 1, 0
        ),
        **_matmul_figures(measured, table, multiprocessors, memory),
    }
    for kernel_name, case in {(one.kernel, one.case) for one in measured.attention}:
        times = [one for one in measured.attention if (one.kernel, one.case) == (kernel_name, case)]
        figures |= _attention_figures(f"{kernel_name}_{case}", times, kernel)
    for name, figure in figures.items():
        if name.endswith("_efficiency") and figure.value > 1:
            raise UsageError(
                f"{name} would be {figure.value:.2f} of the peak in table {table.name}: that is of "
                "another GPU (--like)"
            )
    return dict(sorted(figures.items()))


def _matmul_figures(
    measured: Measured, table: GpuTable, multiprocessors: int, memory: float
) -> dict[str, Fitted]:
    """The start and end of a tile for which one efficiency fits all shapes best; memory in bytes a second."""
    speeds = gpu_speeds(table, multiprocessors)
    speeds.kernel_ns = measured.kernel_seconds / _NANO
    # What memory holds up says nothing of matrix units.
    matmuls = [
        one for one in measured.matmuls if one.bytes / memory < _MOST_OF_MEMORY * one.seconds
    ]
    half = [one for one in matmuls if one.math == "half"]

    def efficiency(overhead: float, times: Sequence[MatmulTime]) -> Fitted:
        speeds.tile_overhead_k = overhead
        return _efficiency(speeds, times)

    overhead = min(_OVERHEADS, key=lambda one: efficiency(one, half).off)
    best = efficiency(overhead, half)
    figures = {
        "tile_overhead_k": Fitted(overhead, best.count, best.off),
        "matmul_efficiency": best,
    }
    if fp8 := [one for one in matmuls if one.math == "fp8"]:
        figures["fp8_matmul_efficiency"] = efficiency(overhead, fp8)
    return figures


def _efficiency(speeds: _C.GpuSpeeds, times: Sequence[MatmulTime]) -> Fitted:
    """The model's time without a kernel's least is inverse to it: each shape says one, and the mean of their logarithms is
    taken.
    """
    logarithms = []
    for one in times:
        number = MATHS.index(one.math)
        known = speeds.matmul_efficiency[number]
        modelled = _C.matmul_time(speeds, one.m, one.n, one.k, number) - speeds.kernel_ns
        logarithms.append(math.log(known * modelled / (one.seconds / _NANO - speeds.kernel_ns)))
    mean = statistics.fmean(logarithms)
    off = statistics.fmean(abs(math.expm1(one - mean)) for one in logarithms)
    return Fitted(math.exp(mean), len(times), off)


def _attention_figures(
    name: str, times: Sequence[AttentionTime], kernel_seconds: float
) -> dict[str, Fitted]:
    """Least squares of relative errors: a FLOP takes 1/speed + half_sequence/speed/sequence."""
    rows = [((one.seconds - kernel_seconds) / one.flops, 1 / one.sequence) for one in times]
    # Of a + b x to y, divided by y: normal equations.
    s11 = sum(1 / y**2 for y, _ in rows)
    s12 = sum(x / y**2 for y, x in rows)
    s22 = sum(x**2 / y**2 for y, x in rows)
    t1, t2 = sum(1 / y for y, _ in rows), sum(x / y for y, x in rows)
    determinant = s11 * s22 - s12**2
    a = (t1 * s22 - t2 * s12) / determinant
    b = (t2 * s11 - t1 * s12) / determinant
    if b < 0:  # faster with fewer keys: the sequence does not matter
        a, b = t1 / s11, 0.0
    off = statistics.fmean(abs((a + b * x) / y - 1) for y, x in rows)
    count = len(times)
    return {
        f"{name}_tflops": Fitted(1 / a / _TERA, count, off),
        # A figure of a table is positive.
        f"{name}_half_sequence": Fitted(max(b / a, 1), count, off),
    }
