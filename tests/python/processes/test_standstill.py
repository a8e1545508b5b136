"""When a run says that nothing has gone on, and when it does not."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from polyrank.process_ranks import standstill
from polyrank.process_ranks.standstill import Standing, Standstill

LOOK = 1.05  # seconds from one look to the next


class Run:
    """Ranks that meet `step` times from one look to the next."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.count = 0

    def num_waits(self) -> int:
        self.count += self.step
        return self.count

    def activity(self) -> str:
        return "  rank 0 waits for rank 1\n"


@pytest.mark.parametrize("step", [0, 1])
def test_ranks_that_meet_now_and_then_go_on(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standstill, "where_ranks_stand", lambda _: "there")
    run: Any = Run(step)
    watched = Standstill(run, first_seconds=LOOK)
    ranks = [Standing(rank=0, pid=os.getpid(), frames=-1, main_thread=0)]
    told = []
    for _ in range(4):
        time.sleep(LOOK)
        told.append(watched.check(ranks))
    texts = [text for text in told if text is not None]
    expected = [] if step else ["nothing has gone on"]
    assert [text.partition(" for ")[0] for text in texts] == expected
