"""Forecasts of several ranks whose programs differ, as the stages of a pipeline do.

Each runs in a process of its own. What their timelines recorded is then replayed together
(NOTE [Ranks that wait for each other] in timeline/joint_replay.h).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from polyrank import exit_codes
from polyrank.errors import UsageError
from polyrank.forecast.process import Ended, run_forecast
from polyrank.forecast.tokens import Tokens
from polyrank.output.resumable import run_parts

__all__ = ["RankForecast", "RanksForecast", "parse_ranks", "parse_slow"]

_MOST_STAGES = 64


def parse_ranks(text: str, world_size: int) -> list[int]:
    """`"0,4,8-15"` as ranks.

    Raises:
        UsageError: it is not of that form, a rank comes twice, or is not in the world.
    """
    ranks: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        ends = [first, last] if "-" in part else [first]
        if not all(end.isdecimal() for end in ends) or int(ends[-1]) < int(first):
            raise UsageError(f"{text!r} is not of the form R,R-R,…")
        if int(ends[-1]) >= world_size:  # before a long range is made
            raise UsageError(f"a world of {world_size} ranks has no rank {int(ends[-1])}")
        ranks += range(int(first), int(ends[-1]) + 1)
    if len(set(ranks)) < len(ranks):
        raise UsageError(f"{text!r} has a rank twice")
    return ranks


def parse_slow(texts: Sequence[str]) -> dict[int, float]:
    """`["3=1.3"]` as factors by rank.

    Raises:
        UsageError: one is not of that form, or a rank comes twice.
    """
    slow: dict[int, float] = {}
    for text in texts:
        rank, _, factor = text.partition("=")
        try:
            number, by = int(rank), float(factor)
        except ValueError as error:
            raise UsageError(f"{text!r} is not of the form RANK=FACTOR, such as 3=1.3") from error
        if not 0 < by < float("inf"):
            raise UsageError(f"{text!r}: the factor must be positive")
        if number in slow:
            raise UsageError(f"rank {number} is made slow twice")
        slow[number] = by
    return slow


@dataclass(frozen=True)
class RankForecast:
    """What the forecast of one rank left."""

    rank: int
    ended: Ended

    @property
    def fits(self) -> bool:
        document = self.ended.document
        return document is not None and not self.ended.failure and bool(document["fits"])

    @property
    def stages(self) -> list[int]:
        """The ranks among which its messages go, itself included; none if it has none."""
        document = self.ended.document
        return [] if document is None else list(document["messages_among"])

    @property
    def tokens(self) -> Tokens | None:
        """What it takes in a step, where its program or its caller says so."""
        document = self.ended.document
        told = document and document["time"] and document["time"]["tokens"]
        return Tokens(**told) if told else None

    @property
    def has_whole_steps(self) -> bool:
        """Whether what it recorded is all that it would have launched."""
        document = self.ended.document
        return (
            not self.ended.failure
            and document is not None
            and document["memory"]["num_ooms"] == 0
            and self.ended.recording is not None
        )


@dataclass
class RanksForecast:
    """The forecasts of several ranks of one program."""

    options: Sequence[str]  # of `polyrank forecast`, without a rank
    program: Sequence[str]  # the script and its arguments
    with_time: bool
    ranks: list[RankForecast] = field(default_factory=list)

    def run(self, ranks: Sequence[int], jobs: int, finished: Callable[[], None]) -> None:
        """Forecast these ranks, `jobs` at once, and keep what came out in their order."""

        def forecast_of(rank: int) -> RankForecast:
            options = [*self.options, "--rank", str(rank)]
            return RankForecast(rank, run_forecast(options, self.program, records=self.with_time))

        made = run_parts(ranks, forecast_of, lambda _: finished(), jobs=jobs)
        self.ranks = sorted([*self.ranks, *made], key=lambda one: one.rank)

    def stages_left(self) -> list[int]:
        """The stages of the pipeline that the one rank which ran is in, without itself.

        Raises:
            UsageError: it failed, or sends no messages, or it does among too many ranks.
        """
        first = self.ranks[0]
        if first.ended.failure:
            raise UsageError(f"rank {first.rank} failed: {first.ended.failure}")
        if not first.stages:
            raise UsageError(f"rank {first.rank} sends and receives no messages: it is no stage")
        if len(first.stages) > _MOST_STAGES:
            raise UsageError(
                f"messages of rank {first.rank} go among {len(first.stages)} ranks, and more than "
                f"{_MOST_STAGES} are not run: name the stages' ranks (--rank R,R,…)"
            )
        return [rank for rank in first.stages if rank != first.rank]

    @property
    def exit_code(self) -> int:
        """0: all fit; of those that do not run, the first one's; 117 if one does not fit."""
        failed = [one.ended.exit_code for one in self.ranks if one.ended.failure]
        if failed:
            return failed[0] or 1
        return 0 if all(one.fits for one in self.ranks) else exit_codes.DOES_NOT_FIT

    def tokens(self) -> dict[int, Tokens]:
        """Of each rank of which it is known."""
        return {one.rank: one.tokens for one in self.ranks if one.tokens is not None}

    def recordings(self) -> list[dict[str, Any]]:
        """Of all ranks.

        Raises:
            UsageError: one has not run to its end, so that others would wait for it in vain.
        """
        for one in self.ranks:
            if not one.has_whole_steps:
                why = one.ended.failure or "it ran out of memory"
                raise UsageError(f"no times of ranks together: rank {one.rank} failed ({why})")
        return [dict(one.ended.recording or {}) for one in self.ranks]
