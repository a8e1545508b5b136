"""How a test that failed on ranks is shown: each kind of failure once, the ranks beside it, the cause last.

Imported when such a test has failed: it imports polyrank.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import dropwhile
from pathlib import Path
from typing import Any

import pytest
from _pytest._code.code import ExceptionChainRepr, ReprFileLocation, ReprTracebackNative
from polyrank.any_world.failed_ranks import TracebackOfRankError, is_ended_by_another, rank_of
from polyrank.any_world.rank_names import rank_names
from polyrank.errors import CollectiveError

__all__ = ["Failure", "folded", "shown"]

_FRAME = re.compile(r'File "(.*)", line (\d+), in ')
_PACKAGES = ("polyrank", "polyrank_pytest")
_OTHERS_SHOWN = 8  # messages of one kind that differ


@dataclass
class Failure:
    """Errors of one type, raised at one line; or what all ranks are told of one collective."""

    first: BaseException
    ranks: list[int] = field(default_factory=list)
    messages: dict[str, list[int]] = field(
        default_factory=dict
    )  # the first line of each, with its ranks


def folded(errors: Sequence[BaseException]) -> list[Failure]:
    """Errors by kind, in the order in which they were raised, less those of ranks that others ended."""
    found: dict[tuple[type, object], Failure] = {}
    own = [error for error in errors if not is_ended_by_another(error)]
    for error in own or errors:
        kind = str(error) if isinstance(error, CollectiveError) else _line_of(error)
        failure = found.setdefault((type(error), kind), Failure(error))
        rank = rank_of(error)
        if rank is not None:
            failure.ranks.append(rank)
            failure.messages.setdefault(_message_of(error), []).append(rank)
    return list(found.values())


def shown(
    item: pytest.Item, failures: Sequence[Failure], world_size: int, world: str
) -> ExceptionChainRepr:
    """What pytest prints of them."""
    chain = []
    for failure in reversed(failures):
        told = _told(failure, is_cause=failure is failures[0])
        chain.append((*_traceback_of(item, failure.first), told))
    whole = ExceptionChainRepr(chain)
    whole.addsection(f"{world_size} ranks, world {world}", _summary(failures, world_size))
    return whole


def _traceback_of(item: pytest.Item, error: BaseException) -> tuple[Any, Any]:
    """What pytest prints of an error, and where it was raised."""
    if isinstance(error.__cause__, TracebackOfRankError):
        lines = _from_the_test_on(str(error.__cause__).strip())
        message = f"{type(error).__name__}: {_message_of(error)}"
        return ReprTracebackNative(lines), ReprFileLocation(*_line_of(error), message)
    one: Any = item.repr_failure(pytest.ExceptionInfo.from_exception(error))
    traceback, crash, _ = one.chain[-1]
    return traceback, crash


def _from_the_test_on(traceback: str) -> list[str]:
    """Its lines, less the frames of polyrank that called the test."""
    title, *frames = re.split(r"^(?=  File )", traceback, flags=re.MULTILINE)
    own = [
        f'  File "{Path(spec.origin).parent}/'
        for name in _PACKAGES
        if (spec := find_spec(name)) and spec.origin
    ]
    below = list(dropwhile(lambda frame: frame.startswith(tuple(own)), frames))
    return "".join([title, *(below or frames)]).splitlines(keepends=True)


def _told(failure: Failure, *, is_cause: bool) -> str:
    text = f"^ raised on {rank_names(sorted(failure.ranks))}"
    text += " (the first to fail)" if is_cause else ""
    first, *others = failure.messages
    if others:
        text += f"; above is {rank_names(failure.messages[first])}"
        for message in others[:_OTHERS_SHOWN]:
            text += f"\n    {rank_names(failure.messages[message])}: {message}"
        if len(others) > _OTHERS_SHOWN:
            text += f"\n    and {len(others) - _OTHERS_SHOWN} more"
    return text


def _summary(failures: Sequence[Failure], world_size: int) -> str:
    failed = {rank for failure in failures for rank in failure.ranks}
    text = f"{len(failed)} of {world_size} failed"
    well = sorted(set(range(world_size)) - failed)
    return f"{text}; no error of their own: {rank_names(well)}" if well else text


def _line_of(error: BaseException) -> tuple[str, int]:
    """Where it was raised."""
    if isinstance(error.__cause__, TracebackOfRankError):
        frames = _FRAME.findall(str(error.__cause__))
        return (frames[-1][0], int(frames[-1][1])) if frames else ("", 0)
    traceback = error.__traceback__
    if traceback is None:
        return "", 0
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_code.co_filename, traceback.tb_lineno


def _message_of(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
