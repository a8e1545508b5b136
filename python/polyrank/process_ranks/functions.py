"""Runs a function once per rank, each in a process of its own."""

from __future__ import annotations

import contextlib
import copy
import io
import pickle
import random
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from polyrank import exit_codes
from polyrank.any_world.failed_ranks import RanksFailedError, TracebackOfRankError, note_rank
from polyrank.any_world.mesh_identity import be_unlike_earlier_meshes
from polyrank.any_world.rank_endings import text_of, text_of_unfinished
from polyrank.errors import CollectiveMismatchError, DeadlockError, UsageError
from polyrank.process_ranks.become_rank import end_python
from polyrank.process_ranks.endings import Ending, Failure, causes_first, text_of_status
from polyrank.process_ranks.environment import ReservedPort, torchrun_variables
from polyrank.process_ranks.launcher import Launch, Rank, run_processes
from polyrank.process_ranks.output import ForwardedOutput

__all__ = ["run_ranks_in_processes"]

Result = TypeVar("Result")


def run_ranks_in_processes(
    function: Callable[..., Result],
    world_size: int,
    args: tuple[Any, ...],
    *,
    schedule: str | None = None,
    seed: int = 0,
) -> list[Result]:
    """Call `function(*args)` in a process for each rank, forked off this one; what each returned.

    Function and arguments need no pickling, results and exceptions do. The default group is there.
    With a `schedule`, "in_turn" or "random", one goes at a time, as on threads.

    Raises:
        UsageError: a rank's result can't be pickled.
        RanksFailedError: ranks raised or died, the first one first.
        KeyboardInterrupt: all ranks have ended.
    """
    random_seed = copy.copy(random._inst).getrandbits(64)
    port = ReservedPort()
    with tempfile.TemporaryDirectory(prefix="polyrank-") as folder, contextlib.closing(port):

        def variables(rank: int) -> Mapping[str, str]:
            return torchrun_variables(rank, world_size, world_size, port.number, Path(folder))

        outcome = run_processes(
            Launch(
                world_size=world_size,
                body=lambda rank: _call_on_rank(rank, function, args),
                output=ForwardedOutput(prefix=False),
                variables=variables,
                random_seed=lambda rank: hash((random_seed, rank)) & (2**63 - 1),
                order=schedule,
                seed=seed,
                has_history=True,
                files=(port.fileno(),),
            )
        )
    if outcome.signal is not None:
        raise KeyboardInterrupt
    failed = causes_first(outcome.endings, silence_fails=True)
    if failed:
        exceptions = [_exception_of(ending) for ending in failed]
        first = failed[0].rank
        raise RanksFailedError(
            f"{len(failed)} of {world_size} ranks failed; first rank {first}: "
            + text_of(exceptions[0]),
            exceptions,
        )
    if outcome.unfinished:
        warnings.warn(text_of_unfinished(outcome.unfinished), stacklevel=3)
    return [pickle.loads(ending.record) for ending in outcome.endings]  # noqa: S301 - a rank's


def _call_on_rank(rank: Rank, function: Callable[..., Any], args: tuple[Any, ...]) -> int:
    """Call it in the rank's process; the exit code."""
    try:
        be_unlike_earlier_meshes()
        rank.groups.make_default_group()
        result = _pickled_result(rank.rank, function(*args))
    except SystemExit as request:
        if request.code:
            rank.fail(_failure(rank.rank, request))
            return exit_codes.RAISED
        result = pickle.dumps(None)
    except BaseException as error:  # noqa: BLE001 - it ends the rank, and the run tells
        rank.fail(_failure(rank.rank, error))
        return exit_codes.RAISED
    end_python()
    rank.run.end(rank.rank)
    rank.channel.send("record", result)
    return 0


def _pickled_result(rank: int, result: Any) -> bytes:
    try:
        return pickle.dumps(result, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise UsageError(
            f"rank {rank} returned a {type(result).__name__} that can't be sent back from its "
            f"process ({text_of(error)}): return what pickle takes, such as numbers and tensors"
        ) from error


def _failure(rank: int, error: BaseException) -> Failure:
    note_rank(error, rank)
    report = "".join(traceback.format_exception(error))
    return Failure(
        rank,
        time.monotonic(),
        type(error).__name__,
        str(error),
        report,
        exit_codes.RAISED,
        is_found_by_all=isinstance(error, CollectiveMismatchError | DeadlockError),
        exception=_pickled_error(error),
    )


def _pickled_error(error: BaseException) -> bytes | None:
    """None if it would not come back."""
    try:
        pickled = pickle.dumps(error, pickle.HIGHEST_PROTOCOL)
        pickle.loads(pickled)  # noqa: S301 - exceptions that ask for more arguments are found here
    except Exception:  # noqa: BLE001 - whatever its class does
        return None
    return pickled


def _exception_of(ending: Ending) -> Exception:
    """What a rank raised, or says how it died; with a note that names the rank."""
    failure = ending.failure
    if failure is None:
        assert ending.status is not None  # noqa: S101
        died = RuntimeError(f"it died by {text_of_status(ending.status)}")
        note_rank(died, ending.rank)
        return died
    error = _unpickled(failure.exception)
    if not isinstance(error, Exception):
        error = RuntimeError(f"{failure.kind}: {failure.message}")
        note_rank(error, ending.rank, ", whose exception can't be pickled")
    error.__cause__ = TracebackOfRankError(failure.report)
    return error


def _unpickled(pickled: bytes | None) -> BaseException | None:
    if pickled is None:
        return None
    with contextlib.suppress(Exception):
        error: BaseException = pickle.load(io.BytesIO(pickled))  # noqa: S301 - a rank's
        return error
    return None
