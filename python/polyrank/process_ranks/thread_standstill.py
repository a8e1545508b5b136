"""Finds that nobody can go on, where threads of ranks sleep elsewhere than in a wait for a rank.

As far as the board knows, such a thread may do what others wait for. One that sleeps until another
thread of its process wakes it can't, if all threads of the process sleep like that: in a lock, an
event, a queue, the end of a thread. The kernel says which do: in a futex that no other process has,
without a time-out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from polyrank import _C
from polyrank.process_ranks.become_rank import STANDSTILL_SIGNAL

__all__ = ["ThreadStandstill"]

_FIRST_SECONDS = 0.02
_LONGEST_SECONDS = 1.0

_FUTEX = {"x86_64": 202, "aarch64": 98}.get(os.uname().machine)  # its number
_PRIVATE, _CLOCK_REALTIME = 128, 256
_WAITS = (0, 9)  # FUTEX_WAIT, FUTEX_WAIT_BITSET
_NUM_ARGUMENTS = 6

# By process and thread: the system call that it sleeps in, and how often it has slept.
_Sleepers = dict[tuple[int, str], str]


class ThreadStandstill:
    """Looks at ranks whose threads may go on, while others wait."""

    def __init__(self, run: _C.SharedRun, pids: Sequence[int]) -> None:
        self._run = run
        self._pids = list(pids)  # by rank
        self._number = -1  # of the standstill that is looked at
        self._next = 0.0
        self._pause = _FIRST_SECONDS

    def look(self, now: float) -> list[int]:
        """End the run if all threads sleep for good; give the ranks that did. To be called often."""
        if now < self._next:
            return []
        ended: list[int] = []
        stillness = self._run.stillness()
        number, ranks = (-1, []) if stillness is None else stillness
        if number != self._number:  # somebody went on since the last look
            self._number, self._pause = number, _FIRST_SECONDS
        elif ranks:
            pids = {self._pids[rank] for rank in ranks}
            # None that has slept without a break from the first look to the second ran between them.
            sleepers = self._sleepers(pids)
            if sleepers is not None and sleepers == self._sleepers(pids):
                self._run.end_stillness(number, self._pids, STANDSTILL_SIGNAL)
                ended = ranks
            self._pause = min(2 * self._pause, _LONGEST_SECONDS)
        self._next = now + self._pause
        return ended

    def _sleepers(self, pids: Iterable[int]) -> _Sleepers | None:
        """All threads, if each of them sleeps for good unless another one wakes it."""
        sleepers: _Sleepers = {}
        try:
            for pid in pids:
                for task in Path(f"/proc/{pid}/task").iterdir():
                    call = (task / "syscall").read_text()
                    if not self._sleeps_for_good(call):
                        return None
                    sleepers[pid, task.name] = call + _switches(task)
        except OSError:  # a thread has ended, or we may not look
            return None
        return sleepers

    def _sleeps_for_good(self, call: str) -> bool:
        number, *arguments = call.split()
        if number != str(_FUTEX) or len(arguments) < _NUM_ARGUMENTS:
            return False
        word, operation, _, timeout = (int(argument, 16) for argument in arguments[:4])
        if operation & ~(_PRIVATE | _CLOCK_REALTIME) not in _WAITS:
            return False
        # In the memory that ranks share it waits for another rank, looking up now and then.
        return self._run.is_shared(word) or (bool(operation & _PRIVATE) and timeout == 0)


def _switches(task: Path) -> str:
    return (task / "status").read_text().partition("\nvoluntary")[2]
