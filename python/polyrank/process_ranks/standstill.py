"""Says where ranks stand when nothing has gone on for a while. The run goes on."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from polyrank._C import SharedRun
from polyrank.any_world.rank_names import rank_names
from polyrank.process_ranks.become_rank import BODY_CALLER, FRAMES_SIGNAL

__all__ = ["Standing", "Standstill", "where_ranks_stand"]

_FIRST_SECONDS = 10.0
_LOOK_EVERY_SECONDS = 1.0
_GROWTH = 6.0  # then after 60 s, 360 s, …
# Less of one core is taken for standing still: a loop that polls, with a sleep between.
_STILL_SHARE = 0.01
_ANSWER_SECONDS = 1.0
_NUM_FRAMES = 3

_THREAD = re.compile(r"(?:Thread|Current thread) 0x([0-9a-f]+)")
_FRAME = re.compile(r'^  File "(.*)", line (\d+) in (.*)$')
_WAITS = re.compile(r"^ +ranks? [0-9,-]+ waits? ", re.MULTILINE)
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PACKAGE = str(Path(__file__).parents[1]) + os.sep


@dataclass(frozen=True)
class Standing:
    """A rank that can be asked where it stands."""

    rank: int
    pid: int
    frames: int  # the file descriptor in the rank where faulthandler writes
    main_thread: int


class _Frame(NamedTuple):
    file: str
    line: int
    name: str


class Standstill:
    """Watches how much the ranks of a run compute, and what they wait for."""

    def __init__(self, run: SharedRun, first_seconds: float = _FIRST_SECONDS) -> None:
        self._run = run
        self._since = self._looked = time.monotonic()
        self._first = self._next = first_seconds
        self._seconds: dict[int, float] = {}  # of computing, by rank, at _since
        self._activity = ""  # which rank waits in which collective
        self._num_waits = 0

    def check(self, ranks: Sequence[Standing]) -> str | None:
        """What to tell now, if anything."""
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY_SECONDS:
            return None
        self._looked = now
        seconds = {standing.rank: _seconds_computed(standing.pid) for standing in ranks}
        num_waits, doing = self._run.num_waits(), self._run.activity()
        is_still = self._nobody_computes(seconds, now) or self._somebody_waits(doing)
        if not is_still or num_waits != self._num_waits:  # ranks met meanwhile
            self._since, self._seconds, self._activity = now, seconds, doing
            self._num_waits = num_waits
            self._next = self._first
            return None
        if not ranks or now - self._since < self._next:
            return None
        self._next *= _GROWTH
        return (
            f"nothing has gone on for {now - self._since:.0f} s, and the run waits; where ranks stand:\n"
            + where_ranks_stand(ranks)
        )

    def _nobody_computes(self, seconds: dict[int, float], now: float) -> bool:
        limit = max(now - self._since, _FIRST_SECONDS) * _STILL_SHARE
        return seconds.keys() == self._seconds.keys() and all(
            value - self._seconds[rank] <= limit for rank, value in seconds.items()
        )

    def _somebody_waits(self, doing: str) -> bool:
        """Whether a rank waits for the others, all of which do what they did before."""
        return doing == self._activity and _WAITS.search(doing) is not None


def where_ranks_stand(ranks: Iterable[Standing]) -> str:
    """A line for each place in the program, with the ranks that stand there."""
    ranks = list(ranks)
    for standing in ranks:
        _empty(standing)
        _ask(standing)
    until = time.monotonic() + _ANSWER_SECONDS
    places: dict[str, list[int]] = {}
    for standing in ranks:
        places.setdefault(_answer(standing, until), []).append(standing.rank)
    return "".join(f"  {rank_names(of)}: {place}\n" for place, of in places.items())


def _seconds_computed(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS_PER_SECOND  # its own and its children's


def _frames_file(standing: Standing) -> Path:
    return Path(f"/proc/{standing.pid}/fd/{standing.frames}")


def _empty(standing: Standing) -> None:
    with contextlib.suppress(OSError):  # it has ended meanwhile
        os.truncate(_frames_file(standing), 0)


def _ask(standing: Standing) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(standing.pid, FRAMES_SIGNAL)


def _answer(standing: Standing, until: float) -> str:
    """Where it stands, the innermost frame of the program first."""
    while True:
        try:
            text = _frames_file(standing).read_text(errors="replace").lstrip("\0")
        except OSError:
            return "it has ended"
        frames = _frames_of(text, standing.main_thread)
        if frames:
            return _place(frames)
        if time.monotonic() > until:
            return "outside of Python, and does not answer"
        time.sleep(0.01)


def _frames_of(text: str, thread: int) -> list[_Frame]:
    """One thread's frames inside of the rank's body; none if the dump does not reach that far yet."""
    frames: list[_Frame] = []
    is_it = False
    for line in text.splitlines(keepends=True):
        if (start := _THREAD.match(line)) is not None:
            is_it = int(start[1], 16) == thread
        elif is_it and line.endswith("\n") and (match := _FRAME.match(line.rstrip("\n"))):
            frame = _Frame(match[1], int(match[2]), match[3])
            if (
                frame.name == BODY_CALLER
            ):  # the frames outside of it are the launcher's, from the fork
                return frames
            frames.append(frame)
    return []


def _place(frames: list[_Frame]) -> str:
    outside = ("<frozen ", _PACKAGE)
    program = [frame for frame in frames if not frame.file.startswith(outside)]
    shown = [frame for frame in program if not _is_of_torch(frame.file)][:_NUM_FRAMES]
    places = shown or program[:1] or frames[:1]
    return " < ".join(f"{frame.file}:{frame.line} in {frame.name}" for frame in places)


def _is_of_torch(file: str) -> bool:
    return f"{os.sep}site-packages{os.sep}torch{os.sep}" in file
