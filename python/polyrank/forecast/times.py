"""What a timeline says: how long a step takes, and what waits for what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from polyrank.forecast.speeds import Compared, GpuTable
from polyrank.forecast.tokens import Tokens

__all__ = ["Idle", "StepTime", "Time", "WorkSum", "time_of"]

_SECONDS = 1e-9


@dataclass(frozen=True)
class Idle:
    """Time in which nothing was computed, by what was waited for."""

    cause: str  # "the CPU", "communication", "copies"; of ranks replayed together "lateness", too
    group: str  # of communication; of lateness: "rank 4"
    ns: int


@dataclass(frozen=True)
class WorkSum:
    """All works of a group, of a module or of an operator; sums, also of what ran at once."""

    count: int
    compute_ns: int  # and copies
    communication_ns: int
    exposed_ns: int  # communication while nothing was computed
    flops: float


@dataclass(frozen=True)
class StepTime:
    """One step of training, from the end of the step before to its own."""

    step: int  # from 1 on; 0: the whole run
    ns: int
    compute_ns: int  # a stream computed
    communication_ns: int  # a stream communicated
    exposed_ns: int  # a stream communicated, and none computed
    slowed_ns: int  # kernels took longer, for communication ran beside them
    host_busy_ns: int  # the CPU worked for it, perhaps before it began
    flops: float  # of matmuls, convolutions and attention, what was computed twice included
    recomputed_flops: float  # of them: forward once more, for checkpoints
    roofline_ns: float  # of all that is computed, at the GPU's peaks and one after the other
    idle: list[Idle]
    by_group: dict[str, WorkSum]
    by_module: dict[str, WorkSum]
    by_operator: dict[str, WorkSum]

    @property
    def seconds(self) -> float:
        return self.ns * _SECONDS

    @property
    def model_flops(self) -> float:
        """Without what was computed once more."""
        return self.flops - self.recomputed_flops

    def share_of(self, flops: float, peak_flops: float) -> float:
        """That many FLOPs a step, as a share of what the GPU has at its peak."""
        return flops / (self.seconds * peak_flops) if self.ns else 0.0


@dataclass(frozen=True)
class Time:
    """The times of one rank."""

    steps: list[StepTime]
    whole: StepTime
    peak_flops: float  # of the GPU, half precision, a second
    compared: Compared | None  # how far off such forecasts were; None: nobody looked
    tokens: Tokens | None  # that this rank takes in a step; None: nobody says

    @property
    def steady(self) -> StepTime:
        """The last step, when all that is made once is there; the whole run if there was none."""
        return self.steps[-1] if self.steps else self.whole

    @property
    def mfu(self) -> float:
        """The model's FLOPs, as a share of the peak."""
        return self.steady.share_of(self.steady.model_flops, self.peak_flops)

    @property
    def hfu(self) -> float:
        """All FLOPs, recomputation included, as a share of the peak."""
        return self.steady.share_of(self.steady.flops, self.peak_flops)

    @property
    def tokens_per_second(self) -> float | None:
        """Of this rank."""
        if self.tokens is None or not self.steady.ns:
            return None
        return self.tokens.count / self.steady.seconds


def time_of(
    step_reports: list[dict[str, Any]],
    whole_report: dict[str, Any],
    gpu: GpuTable,
    tokens: Tokens | None,
) -> Time:
    """What a timeline's reports say."""
    return Time(
        steps=[_step_of(step, report) for step, report in enumerate(step_reports, start=1)],
        whole=_step_of(0, whole_report),
        peak_flops=gpu.peak_flops,
        compared=gpu.compared,
        tokens=tokens,
    )


def _step_of(step: int, report: dict[str, Any]) -> StepTime:
    return StepTime(
        step=step,
        ns=report["end"] - report["start"],
        compute_ns=report["compute"],
        communication_ns=report["communication"],
        exposed_ns=report["exposed"],
        slowed_ns=report["slowed"],
        host_busy_ns=report["host_busy"],
        flops=report["flops"],
        recomputed_flops=report["recomputed_flops"],
        roofline_ns=report["roofline"],
        idle=sorted(
            (Idle(one["cause"], one["group"], one["time"]) for one in report["idle"]),
            key=lambda idle: -idle.ns,
        ),
        by_group=_sums(report["by_group"]),
        by_module=_sums(report["by_module"]),
        by_operator=_sums(report["by_name"]),
    )


def _sums(sums: dict[str, dict[str, Any]]) -> dict[str, WorkSum]:
    """Those that took most first."""
    made = {
        text: WorkSum(
            count=one["count"],
            compute_ns=one["compute"],
            communication_ns=one["communication"],
            exposed_ns=one["exposed"],
            flops=one["flops"],
        )
        for text, one in sums.items()
    }
    return dict(
        sorted(made.items(), key=lambda item: -(item[1].compute_ns + item[1].communication_ns))
    )
