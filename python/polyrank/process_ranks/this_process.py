"""Which rank this process is."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RankOfProcess", "be_rank", "rank_of_process"]


@dataclass(frozen=True)
class RankOfProcess:
    """A rank that was forked off a launcher."""

    rank: int
    world_size: int


_own: list[RankOfProcess] = []  # one at most; a rank that forks ranks of its own is theirs


def be_rank(rank: int, world_size: int) -> None:
    """Say it, once the process is there."""
    _own[:] = [RankOfProcess(rank, world_size)]


def rank_of_process() -> RankOfProcess | None:
    """Who this process is; None if it is no such rank."""
    return _own[0] if _own else None
