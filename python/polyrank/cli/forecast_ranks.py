"""`polyrank forecast` of several ranks: `--rank R,R,…` and `--stages`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from polyrank.cli.chakra_target import ChakraTarget
    from polyrank.forecast.ranks import RanksForecast

__all__ = ["RanksAsked", "forecast_ranks"]


@dataclass(frozen=True)
class RanksAsked:
    """What the command line asks of several ranks."""

    options: Sequence[str]  # of each rank's forecast, without its rank
    program: Sequence[str]
    cluster: str
    ranks: Sequence[int]
    finds_stages: bool
    with_time: bool
    slow: Mapping[int, float]
    jobs: int | None
    json_target: Path | None
    trace_target: Path | None
    chakra: ChakraTarget | None


def forecast_ranks(asked: RanksAsked) -> int:
    """Forecast them, print a table, and write what was asked for; gives the exit code."""
    from polyrank.errors import DeadlockError, UsageError
    from polyrank.forecast.clusters import find_cluster
    from polyrank.forecast.ranks import RanksForecast
    from polyrank.forecast.ranks_report import ranks_dict, ranks_text
    from polyrank.forecast.speeds import gpu_table
    from polyrank.forecast.together import replayed
    from polyrank.output.written_whole import write_json, write_text

    made = RanksForecast(asked.options, asked.program, asked.with_time)
    _run(made, asked)
    together = as_they_are = None
    problem = ""
    if asked.with_time:
        try:
            recordings, gpu = made.recordings(), gpu_table(find_cluster(asked.cluster))
            as_they_are = replayed(recordings, gpu, tokens=made.tokens())
            together = replayed(recordings, gpu, tokens=made.tokens(), slow=asked.slow)
            if asked.chakra is not None:
                asked.chakra.write(recordings)
        except (DeadlockError, UsageError) as error:
            problem = str(error)
    if not asked.slow:
        as_they_are = None
    sys.stdout.write(ranks_text(made, together, as_they_are))
    for one in made.ranks:
        if one.ended.failure:
            sys.stderr.write(f"rank {one.rank}:\n{one.ended.told}")
    if problem:
        sys.stderr.write(f"polyrank: {problem}\n")
    if asked.json_target is not None:
        write_json(asked.json_target, ranks_dict(made, together, as_they_are))
    if asked.trace_target is not None and together is not None:
        write_text(asked.trace_target, together.replay.chrome_trace())
    return made.exit_code or (1 if problem else 0)


def _run(made: RanksForecast, asked: RanksAsked) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from polyrank.errors import UsageError

    jobs = asked.jobs or os.cpu_count() or 1
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("ranks", total=len(asked.ranks))

        def finished() -> None:
            progress.advance(task)

        made.run(asked.ranks, jobs, finished)
        if not asked.finds_stages or made.ranks[0].ended.failure:
            return
        try:
            left = made.stages_left()
        except UsageError as error:
            progress.stop()
            raise typer.BadParameter(str(error), param_hint="--stages") from error
        progress.update(task, total=1 + len(left))
        made.run(left, jobs, finished)
