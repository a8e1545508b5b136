"""The environment variables that torchrun sets, for a process that is all ranks."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any, NoReturn

import torch

from polyrank import _C
from polyrank.any_world.torchrun_variables import (
    OMP_NUM_THREADS,
    RANK_DEPENDENT,
    numbers_of_rank,
    variables_of_all_ranks,
    variables_of_rank,
)
from polyrank.errors import DivergenceError
from polyrank.rank_text.taken_for_one import is_watched
from polyrank.rank_text.variables import is_variable, known_variables, text_of_variable
from polyrank.replacing.code_of import is_of_python

_PORT = 29500


def _refuse(key: str) -> NoReturn:
    raise DivergenceError(
        f"the environment variable {key} has a value of its own on each rank, and one process runs all ranks. Use "
        "torch.distributed.get_rank() or get_node_local_rank(), which give rank-dependent ints, or run the script "
        "in the threads world (`polyrank run --world threads`). `--rank-env 0` answers 0, for libraries that only "
        "log by it."
    )


class _Asked(os._Environ):  # type: ignore[type-arg]
    """os.environ, which says whether a variable is there also to who may not read it."""

    def __contains__(self, key: object) -> bool:
        return key in set(os._Environ.__iter__(self))


class _Environment(_Asked):
    """os.environ, where a variable that each rank has its own of is text of all ranks.

    Code in which such text is not watched would take it for one rank's. There, reading it is an error,
    and copies leave it out.
    """

    def __getitem__(self, key: str) -> str:
        value: str = super().__getitem__(key)
        if is_variable(value) and not is_watched(_reader()):
            _refuse(key)
        return value

    def __iter__(self) -> Iterator[str]:
        names = super().__iter__()
        if is_watched(_reader()):
            return names
        return (
            name for name in names if not is_variable(super(_Environment, self).__getitem__(name))
        )


class _EnvironmentOfBytes(_Asked):
    """os.environb, of whose text nothing is watched: those variables are not to be read there."""

    def __getitem__(self, key: bytes) -> bytes:
        value: bytes = super().__getitem__(key)
        if is_variable(value):
            _refuse(os.fsdecode(key))
        return value

    def __iter__(self) -> Iterator[bytes]:
        of_all = super().__getitem__
        return (name for name in super().__iter__() if not is_variable(of_all(name)))


class _EnvironmentOfRank0(os._Environ):  # type: ignore[type-arg]
    """os.environ with rank 0's values, told once for each place that reads one."""

    def __getitem__(self, key: str) -> str:
        if key in RANK_DEPENDENT:
            reader = _reader()
            _tell_of(key, reader.f_code.co_filename, reader.f_lineno)
        value: str = super().__getitem__(key)
        return value


def _reader() -> FrameType:
    """Whose code reads the environment."""
    frame = sys._getframe(2)
    while frame.f_back is not None and is_of_python(frame.f_code.co_filename):  # serves its callers
        frame = frame.f_back
    return frame


@functools.cache
def _tell_of(key: str, file: str, line: int) -> None:
    sys.stderr.write(
        f"polyrank: {file}:{line} reads {key}: all ranks go on with rank 0's value (--rank-env 0); what "
        "it decides is wrong on the others if it is more than who logs\n"
    )


@contextlib.contextmanager
def _read_as(own: type, own_of_bytes: type = os._Environ) -> Iterator[None]:
    """Within this block `os.environ` and `os.environb` are of these classes."""
    holders: list[tuple[Any, type]] = [(os.environ, own)]
    if os.supports_bytes_environ:
        holders.append((os.environb, own_of_bytes))
    plain = os.environ.__class__
    for holder, kind in holders:
        holder.__class__ = kind
    try:
        yield
    finally:
        for holder, _ in holders:
            holder.__class__ = plain


@contextlib.contextmanager
def _of_rank_0(local_world_size: int) -> Iterator[None]:
    os.environ.update(variables_of_rank(0, local_world_size))
    with _read_as(_EnvironmentOfRank0):
        yield


@contextlib.contextmanager
def _of_all_ranks(world_size: int, local_world_size: int) -> Iterator[None]:
    numbers = numbers_of_rank(_C.own_ranks(_C.RankSet.first(world_size)), local_world_size)
    with known_variables(numbers):
        os.environ.update(
            {name: text_of_variable(name, number) for name, number in numbers.items()}
        )
        with _read_as(_Environment, _EnvironmentOfBytes):
            yield


@contextlib.contextmanager
def torchrun_environment(
    world_size: int,
    local_world_size: int,
    rank: int | None = None,
    *,
    by_thread: bool = False,
    rank_env: str = "ask",
) -> Iterator[None]:
    """Set what torchrun sets, threads included; put all back afterwards.

    Without a rank the process is all of them: a variable that each has its own of is text of all ranks,
    unless with `by_thread` each rank has an environment of its own, or with a `rank_env` of "0"
    rank 0's values are there.
    """
    variables = variables_of_all_ranks(world_size, local_world_size, _PORT)
    before = {name: os.environ.get(name) for name in (*variables, *RANK_DEPENDENT)}
    if rank is not None:
        variables.update(variables_of_rank(rank, local_world_size))
    num_threads = torch.get_num_threads()
    if before[OMP_NUM_THREADS] is None:
        torch.set_num_threads(1)  # torch read the variable when it was imported
    os.environ.update(variables)
    around: AbstractContextManager[None] = contextlib.nullcontext()
    if rank is None:
        for name in RANK_DEPENDENT:
            os.environ.pop(name, None)
        if rank_env == "0":
            around = _of_rank_0(local_world_size)
        elif not by_thread:
            around = _of_all_ranks(world_size, local_world_size)
    try:
        with around:
            yield
    finally:
        torch.set_num_threads(num_threads)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
                os.unsetenv(name)  # what a rank that was a thread has set
            else:
                os.environ[name] = value
