"""The times of ranks that wait for each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polyrank import _C
from polyrank.forecast.speeds import GpuTable
from polyrank.forecast.time_report import time_dict
from polyrank.forecast.times import Time, time_of
from polyrank.forecast.tokens import Tokens

__all__ = ["Together", "replayed"]

LATENESS = "lateness"  # the core's word


@dataclass(frozen=True)
class Together:
    """Several ranks' times, as they wait for each other."""

    ranks: list[int]
    times: list[Time]  # of each
    step_ns: int  # from the end of the step before on the last rank to the end of the last step
    slow: dict[int, float]  # how much longer ranks' kernels take than the cluster's GPUs would
    replay: _C.JointReplay

    @property
    def bubble(self) -> float:
        """Of all ranks' step, the share in which they compute nothing, since another rank is late."""
        return self._share(sum(self.late_ns(time) for time in self.times))

    @property
    def idle(self) -> float:
        """Of all ranks' step, the share in which they compute nothing."""
        return 1 - self._share(sum(time.steady.compute_ns for time in self.times))

    def _share(self, nanoseconds: int) -> float:
        whole = sum(time.steady.ns for time in self.times)
        return nanoseconds / whole if whole else 0.0

    @staticmethod
    def late_ns(time: Time) -> int:
        """How long one rank computes nothing in its step, since another one is late."""
        return sum(idle.ns for idle in time.steady.idle if idle.cause == LATENESS)

    def to_dict(self) -> dict[str, Any]:
        """For programs; nanoseconds everywhere."""
        return {
            "step_ns": self.step_ns,
            "bubble": self.bubble,
            "idle": self.idle,
            "slow": {str(rank): factor for rank, factor in self.slow.items()},
            "ranks": [
                {"rank": rank, **time_dict(time)}
                for rank, time in zip(self.ranks, self.times, strict=True)
            ],
        }


def replayed(
    recordings: Sequence[dict[str, Any]],
    gpu: GpuTable,
    *,
    tokens: Mapping[int, Tokens] | None = None,
    slow: Mapping[int, float] | None = None,
) -> Together:
    """Replay what ranks recorded, together; `tokens` are by rank.

    Raises:
        DeadlockError: they wait for what never comes.
        UsageError: a rank is to be slow that is not among them.
    """
    slow = dict(slow or {})
    replay = _C.JointReplay(list(recordings), slow)
    times = [
        time_of(replay.step_reports(i), replay.whole_report(i), gpu, (tokens or {}).get(rank))
        for i, rank in enumerate(replay.ranks)
    ]
    return Together(
        ranks=list(replay.ranks),
        times=times,
        step_ns=_last_step(replay, times),
        slow=slow,
        replay=replay,
    )


def _last_step(replay: _C.JointReplay, times: Sequence[Time]) -> int:
    """Steps are of one number on all ranks that train; without any, the whole run is."""
    ends = [replay.step_ends(i) for i in range(len(replay.ranks))]
    last = min(len(one) for one in ends)
    if last == 0:
        return max(time.whole.ns for time in times)
    before = max(one[last - 2] for one in ends) if last > 1 else 0
    return max(one[last - 1] for one in ends) - before
