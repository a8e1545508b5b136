"""Lets the next rank go where the one that has the turn blocks outside of torch.distributed.

Ranks that go one at a time hand the turn on by themselves where they wait for each other. In a lock,
a socket, a sleep they don't: the launcher sees from outside that such a process sleeps.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from polyrank import _C

__all__ = ["LOOK_SECONDS", "TurnWatch"]

LOOK_SECONDS = 0.01
# Who is asleep at so many looks, one after the other, blocks. Who computes is seen running or ready
# to run, however busy the machine is.
_NUM_LOOKS = 5
# Who asks again and again without a sleep is never asleep.
_LONGEST_SECONDS = 10.0


class TurnWatch:
    """Looks at the rank that has the turn."""

    def __init__(self, run: _C.SharedRun, pids: Sequence[int]) -> None:
        self._run = run
        self._pids = pids  # by rank
        self._number = -1  # of the turn that is looked at
        self._since = self._looked = 0.0
        self._num_asleep = 0

    def look(self, now: float) -> None:
        """To be called every LOOK_SECONDS."""
        turn = self._run.turn()
        if turn is None or now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        rank, number = turn
        if number != self._number:
            self._number, self._since, self._num_asleep = number, now, 0
        self._num_asleep = self._num_asleep + 1 if _is_asleep(self._pids[rank]) else 0
        if self._num_asleep >= _NUM_LOOKS:
            self._run.end_turn(number)
        elif now - self._since > _LONGEST_SECONDS:
            sys.stderr.write(
                f"rank {rank} has had the turn for {now - self._since:.0f} s without waiting for "
                "another rank; the others go on beside it, and this run may not repeat from here on\n"
            )
            self._run.end_turn(number)


def _is_asleep(pid: int) -> bool:
    """Whether all threads of a process wait for something."""
    states = set()
    with contextlib.suppress(OSError):  # a thread, or all, have just ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            states.add((task / "stat").read_bytes().rpartition(b") ")[2][:1])
    return states == {b"S"}
