"""Functions in which a rank may block for something outside of torch.distributed.

Each gives the turn away while it blocks, and keeps it where it would not block, so that a program
that reads files or takes free locks runs in the same order each time. What asks for something
again and again lets the others run (NOTE [Calls of builtin functions] in builtin_calls.h).
"""

from __future__ import annotations

import _io
import _multiprocessing  # type: ignore[import-not-found]
import _posixsubprocess
import _queue
import _signal  # type: ignore[import-not-found]
import _socket
import _thread
import contextlib
import fcntl
import functools
import os
import select
import stat
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch._C._distributed_c10d import FileStore, PrefixStore, Store, TCPStore

from polyrank import _C
from polyrank.rank_threads.child_processes import run_in_shell, start_child
from polyrank.rank_threads.output import stream_of_descriptor
from polyrank.rank_threads.own_settings import settings_of_ranks
from polyrank.rank_threads.own_signals import BUILTINS as SIGNALS
from polyrank.rank_threads.paused import paused
from polyrank.rank_threads.rank_globals import rank_globals
from polyrank.rank_threads.started_threads import start_as_rank
from polyrank.replacing.row import Row

__all__ = ["ROWS", "outside_waits_give_the_turn"]

Function = Callable[..., Any]


def _outside(original: Function, *args: Any, **options: Any) -> Any:
    """Block while others run, unless they would find a module that is being loaded."""
    if _C.is_importing():
        return original(*args, **options)
    return paused(original, *args, **options)


def _sleep(original: Function, seconds: float) -> None:
    own = rank_globals()
    if own is None:
        paused(original, seconds)
    else:  # so that the end of the run ends the sleep
        paused(own.stopped.wait, seconds)


def _reading(original: Function, file: Any, *args: Any, **options: Any) -> Any:
    return _on_file(original, file, False, args, options)


def _writing(original: Function, file: Any, *args: Any, **options: Any) -> Any:
    return _on_file(original, file, True, args, options)


def _write(original: Function, file: Any, data: Any, /) -> Any:
    stream = stream_of_descriptor(file)
    return _writing(original, file, data) if stream is None else stream.write(data)


def _write_all(original: Function, file: Any, pieces: Any, /) -> Any:
    stream = stream_of_descriptor(file)
    if stream is None:
        return _writing(original, file, pieces)
    return stream.write(b"".join(map(bytes, pieces)))


def _on_file(
    original: Function, file: Any, writes: bool, args: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    try:
        number = file if isinstance(file, int) else file.fileno()
        is_socket = isinstance(file, _socket.socket)
        may_block = file.gettimeout() != 0 if is_socket else os.get_blocking(number)
        would_block = number >= 0 and may_block and not _C.is_ready(number, writes)
    except (OSError, ValueError):  # the call itself tells
        would_block = False
    return (_outside if would_block else _directly)(original, file, *args, **options)


def _on_socket(original: Function, *args: Any, **options: Any) -> Any:
    """Sending all, connecting: may block whatever the state of the socket."""
    return (_directly if args[0].gettimeout() == 0 else _outside)(original, *args, **options)


def _directly(original: Function, *args: Any, **options: Any) -> Any:
    return original(*args, **options)


_POLL: Any = type(select.poll())


def _select(original: Function, *args: Any, **options: Any) -> Any:
    """`select.select`, and `poll` of its objects: looks first."""
    is_select = not isinstance(args[0], (_POLL, select.epoll))
    place = 3 if is_select else 1
    timeout = args[place] if len(args) > place else options.get("timeout")
    at_once = dict(options)
    before, after = args[:place], args[place + 1 :]
    if not is_select and isinstance(args[0], select.epoll):
        at_once["timeout"] = 0
        found = original(*before, 0, *after) if len(args) > place else original(*before, **at_once)
    else:
        found = original(*before, 0)
    if any(found) if is_select else found:
        return found
    if timeout is not None and timeout == 0:
        _C.asked(hash(("select", *map(id, args))))
        return found
    return _outside(original, *args, **options)


def _wait_for_child(original: Function, *args: Any) -> Any:
    if args[-1] & os.WNOHANG == 0:
        return _outside(original, *args)
    result = original(*args)
    if not result or result[0] == 0:
        _C.asked(hash(("child", args)))
    return result


def _lock_file(original: Function, file: Any, operation: int, *args: Any) -> Any:
    if operation & fcntl.LOCK_UN:
        return original(file, operation, *args)
    try:
        return original(file, operation | fcntl.LOCK_NB, *args)
    except OSError:
        if operation & fcntl.LOCK_NB:
            _C.asked(hash(("file", id(file))))
            raise
    return _outside(original, file, operation, *args)


def _lock_range(
    original: Function,
    file: Any,
    operation: int,
    length: int = 0,
    start: int = 0,
    whence: int = 0,
) -> None:
    """`fcntl.lockf` by the open file: a lock of the process, as it takes, keeps no rank out."""
    kinds = {
        fcntl.LOCK_UN: fcntl.F_UNLCK,
        fcntl.LOCK_SH: fcntl.F_RDLCK,
        fcntl.LOCK_EX: fcntl.F_WRLCK,
    }
    kind = kinds.get(operation & ~fcntl.LOCK_NB)
    if kind is None or not hasattr(fcntl, "F_OFD_SETLK"):
        return _lock_file(original, file, operation, length, start, whence)  # type: ignore[no-any-return]
    lock = struct.pack("hhqqi", kind, whence, start, length, 0)  # C's struct flock
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
    except BlockingIOError:
        if operation & fcntl.LOCK_NB:
            _C.asked(hash(("file", id(file))))
            raise
        _outside(fcntl.fcntl, file, fcntl.F_OFD_SETLKW, lock)
    return None


def _is_pipe(path: Any) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)  # noqa: PTH116 - it may be a descriptor
    except (OSError, ValueError, TypeError):  # the call itself tells
        return False


def _open(original: Function, path: Any, *args: Any, **options: Any) -> Any:
    """Opening a named pipe waits for its other end; who may not create a file tries again and again."""
    if _is_pipe(path):
        return _outside(original, path, *args, **options)
    try:
        return original(path, *args, **options)
    except OSError:
        _C.asked(hash(("open", str(path))))
        raise


def _acquire_again(original: Function, lock: Any, state: Any) -> Any:
    """What a condition does with a lock that can be held several times."""
    lock.acquire()  # which lets others run
    lock.release()
    return original(lock, state)


def _semaphore(original: Function, semaphore: Any, block: bool = True, timeout: Any = None) -> Any:
    if original(semaphore, False):
        return True
    if not block:
        _C.asked(id(semaphore))
        return False
    return _outside(original, semaphore, block, timeout)


def _enter_semaphore(_original: Function, semaphore: Any) -> Any:
    return semaphore.acquire()


def _is_of_ranks(store: Any) -> bool:
    while isinstance(store, PrefixStore):
        store = store.underlying_store
    return isinstance(store, _C.RankStore)


def _ask_store(original: Function, store: Any, *args: Any, **options: Any) -> Any:
    """What waits until keys are there: a store of ranks gives the turn away by itself."""
    if _is_of_ranks(store):
        return original(store, *args, **options)
    return _outside(original, store, *args, **options)


def _poll_store(original: Function, store: Any, *args: Any, **options: Any) -> Any:
    answer = original(store, *args, **options)
    if not _is_of_ranks(store):
        _C.asked(hash(("store", id(store), original)))
    return answer


def _future(original: Function, future: Any) -> Any:
    return original(future) if future.done() else _outside(original, future)


# What blocks, or asks: where it is, its names, and how it is handled.
_Row = tuple[Any, str, "Function | str"]


def _rows() -> Iterator[_Row]:
    lock = type(_thread.allocate_lock())
    for kind in (lock, _thread.RLock):
        yield kind, "acquire __enter__", "acquire"
        yield kind, "release __exit__", "release"
    yield _thread.RLock, "_release_save", "release"
    yield _thread.RLock, "_acquire_restore", _acquire_again
    yield lock, "acquire_lock", "acquire"
    yield lock, "release_lock", "release"
    yield lock, "locked locked_lock", "poll"
    yield _queue.SimpleQueue, "get", "get"
    yield _queue.SimpleQueue, "get_nowait", "take"
    yield _queue.SimpleQueue, "put put_nowait", "put"
    yield _queue.SimpleQueue, "empty qsize", "poll"
    yield _thread, "start_new_thread start_new", start_as_rank
    yield time, "sleep", _sleep
    yield time, "time time_ns monotonic monotonic_ns perf_counter perf_counter_ns", "poll"
    yield os, "stat lstat access listdir scandir", "poll"
    yield os, "mkdir rmdir link symlink rename replace unlink remove", "poll"
    yield os, "open", _open
    yield os, "read readv preadv", _reading
    yield os, "write", _write
    yield os, "writev", _write_all
    yield os, "waitpid", _wait_for_child
    yield os, "waitid", _wait_for_child
    yield os, "wait wait3 wait4", _outside
    yield os, "system", run_in_shell
    yield _posixsubprocess, "fork_exec", start_child
    yield _signal, "sigwait sigwaitinfo sigtimedwait pause", _outside
    yield _io, "open", _open
    yield _io.FileIO, "read readinto readall", _reading
    yield _io.FileIO, "write", _writing
    yield fcntl, "flock", _lock_file
    yield fcntl, "lockf", _lock_range
    yield select, "select", _select
    yield _POLL, "poll", _select
    yield select.epoll, "poll", _select
    yield _socket.socket, "recv recv_into recvfrom recvfrom_into recvmsg _accept", _reading
    yield _socket.socket, "connect connect_ex send sendall sendto sendmsg", _on_socket
    yield _multiprocessing.SemLock, "acquire", _semaphore
    yield _multiprocessing.SemLock, "__enter__", _enter_semaphore
    yield Store, "get wait multi_get queue_pop barrier", _ask_store
    yield Store, "add check num_keys compare_set", _poll_store
    yield TCPStore, "__init__", _outside
    yield FileStore, "__init__", _outside
    yield torch._C.Future, "wait", _future
    yield from SIGNALS
    yield from settings_of_ranks()


def _builtins(rows: Iterable[_Row]) -> Iterator[tuple[Any, Any]]:
    """Those that this Python has, each once, with their handlers."""
    for owner, names, handler in rows:
        for name in names.split():
            function = vars(owner).get(name)
            if function is not None and not isinstance(function, (staticmethod, classmethod)):
                yield function, handler


@functools.cache
def _add_builtins() -> None:
    for function, handler in _builtins(_rows()):
        _C.add_builtin(function, handler)


def _asking(original: Function) -> Function:
    """A method written in Python that asks for what another thread changes."""

    @functools.wraps(original)
    def ask(self: Any) -> Any:
        answer = original(self)
        thread = _C.RankThread.current()
        if thread is not None and thread.takes_turns:
            _C.asked(id(self))
        return answer

    return ask


ROWS = (
    *(
        Row(owner, name, _asking, "is asked until another thread has changed it")
        for owner, name in (
            ("threading:Event", "is_set"),
            ("threading:Thread", "is_alive"),
            ("concurrent.futures:Future", "done"),
            ("queue:Queue", "empty"),
            ("queue:Queue", "qsize"),
        )
    ),
)


@contextlib.contextmanager
def outside_waits_give_the_turn(turns: _C.RankTurns) -> Iterator[None]:
    """A block in which threads that take turns give theirs away where they block."""
    _add_builtins()
    _C.intercept_builtins(turns)
    try:
        yield
    finally:
        _C.intercept_builtins(None)
