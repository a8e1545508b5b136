"""What functions of Python's library and of torch set once a process, and each rank has of its own.

Limits of the interpreter, the garbage collector, the locale, the time zone, where standard streams
go, what torch prefers on GPUs: the first call on a rank that sets one makes it change hands with the turn from then on, so that
it costs nothing before.
"""

from __future__ import annotations

import _locale
import _socket
import contextlib
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from polyrank import _C
from polyrank.rank_threads.own_loggers import OwnLoggers
from polyrank.rank_threads.rank_globals import RankGlobals, rank_globals

__all__ = ["OwnSettings", "settings_of_ranks"]

Function = Callable[..., Any]


@dataclass(frozen=True)
class _Setting:
    """Something that functions of `owner` set: their names, what it is now, and what puts it there."""

    owner: Any
    setters: str
    read: Callable[[], Any]
    write: Callable[[Any], Any]


def _collect(is_enabled: bool) -> None:
    (gc.enable if is_enabled else gc.disable)()


_SETTINGS = (
    _Setting(sys, "setrecursionlimit", sys.getrecursionlimit, sys.setrecursionlimit),
    _Setting(sys, "set_int_max_str_digits", sys.get_int_max_str_digits, sys.set_int_max_str_digits),
    _Setting(sys, "setswitchinterval", sys.getswitchinterval, sys.setswitchinterval),
    _Setting(gc, "enable disable", gc.isenabled, _collect),
    _Setting(gc, "set_threshold", gc.get_threshold, lambda numbers: gc.set_threshold(*numbers)),
    _Setting(gc, "set_debug", gc.get_debug, gc.set_debug),
    _Setting(_socket, "setdefaulttimeout", _socket.getdefaulttimeout, _socket.setdefaulttimeout),
    _Setting(
        _locale,
        "setlocale",
        lambda: _locale.setlocale(_locale.LC_ALL),
        lambda name: _locale.setlocale(_locale.LC_ALL, name),
    ),
)

# Of torch, for GPUs: who sets it, `torch._C._set_NAME`, and who tells, `torch._C._get_NAME`.
_FOR_GPUS = (
    "blas_preferred_backend",
    "cublas_allow_bf16_reduced_precision_reduction",
    "cublas_allow_fp16_accumulation",
    "cublas_allow_fp16_reduced_precision_reduction",
    "cudnn_depthwise_kernel",
    "linalg_preferred_backend",
    "miopen_immediate",
    "rocm_fa_preferred_backend",
    "sdp_priority_order",
    "sm_carveout_experimental",
)


def _settings_for_gpus() -> Iterator[_Setting]:
    """Those that this torch has."""
    functions = vars(torch._C)
    for name in _FOR_GPUS:
        read, write = (functions.get(f"_{kind}_{name}") for kind in ("get", "set"))
        if read is not None and write is not None:
            yield _Setting(torch._C, f"_set_{name}", read, _written_by(write))


def _written_by(write: Function) -> Function:
    """Where several values are told, they are arguments."""
    return lambda value: write(*value) if isinstance(value, tuple) else write(value)


class _OpenFile:
    """Keeps open what a descriptor stands for."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = os.dup(descriptor)

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.descriptor)


def _stream(descriptor: int) -> _Setting:
    """Where standard input, output or errors go."""

    def put(file: _OpenFile) -> None:
        for stream in (sys.__stdout__, sys.__stderr__):
            if stream is not None:
                stream.flush()  # what was written goes where it was written to
        os.dup2(file.descriptor, descriptor)

    return _Setting(os, "dup2", lambda: _OpenFile(descriptor), put)


_STREAMS = {descriptor: _stream(descriptor) for descriptor in (0, 1, 2)}


class OwnSettings:
    """Which settings the ranks of a run have of their own. Made before they run."""

    def __init__(self, state: _C.ProcessState) -> None:
        self._state = state
        self._exchanged: set[Any] = set()
        self._zone = os.environ.get("TZ")  # the one in force
        self._is_putting_zone = False
        self.loggers = OwnLoggers(state)

    def exchange(self, setting: _Setting) -> None:
        """From now on let it change hands with the turn: it is about to be set."""
        if setting in self._exchanged:
            return
        self._exchanged.add(setting)

        def put(value: Any) -> Any:
            earlier = setting.read()
            if value != earlier:
                setting.write(value)
            return earlier

        self._state.add_switch(put, setting.read())

    def set_zone(self, tzset: Function) -> None:
        """`time.tzset()` on a rank: its time zone is that of its environment."""

        def put(zone: str | None) -> str | None:
            earlier, self._zone = self._zone, zone
            self._is_putting_zone = True
            if zone is None:
                os.unsetenv("TZ")
            else:
                os.putenv("TZ", zone)
            self._is_putting_zone = False
            tzset()
            return earlier

        if "zone" not in self._exchanged:
            self._exchanged.add("zone")
            self._state.add_switch(put, self._zone)
        put(os.environ.get("TZ"))

    def note_variable(self, own: RankGlobals, name: str | bytes, value: str | bytes | None) -> None:
        """A rank puts a variable into C's environment, which its children are to find there."""
        if not self._is_putting_zone:
            own.put_variables[os.fsencode(name)] = None if value is None else os.fsencode(value)


def _setter(setting: _Setting) -> Function:
    def set_on_rank(original: Function, *args: Any, **options: Any) -> Any:
        own = rank_globals()
        if own is not None:
            own.settings.exchange(setting)
        return original(*args, **options)

    return set_on_rank


def _duplicate(original: Function, fd: int, fd2: int, *args: Any, **options: Any) -> int:
    own = rank_globals()
    if own is not None and fd2 in _STREAMS:
        own.settings.exchange(_STREAMS[fd2])
    result: int = original(fd, fd2, *args, **options)
    return result


def _set_zone(original: Function) -> None:
    own = rank_globals()
    if own is None:
        original()
    else:
        own.settings.set_zone(original)


def _put_variable(original: Function, name: Any, value: Any = None) -> None:
    """`os.putenv` and `os.unsetenv`, by which `os.environ` sets variables too."""
    original(name) if value is None else original(name, value)
    own = rank_globals()
    if own is not None:
        own.settings.note_variable(own, name, value)


def settings_of_ranks() -> Iterator[tuple[Any, str, Function]]:
    """The functions that set something: their owner, their names, and what a rank calls instead."""
    for setting in (*_SETTINGS, *_settings_for_gpus()):
        yield setting.owner, setting.setters, _setter(setting)
    yield os, "dup2", _duplicate
    yield os, "putenv unsetenv", _put_variable
    yield time, "tzset", _set_zone
