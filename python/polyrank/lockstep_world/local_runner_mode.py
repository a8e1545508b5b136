"""LocalRunnerMode: lockstep programs side by side, with messages between them."""

from __future__ import annotations

import sys
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar

import torch

from polyrank import _C
from polyrank.any_world.rank_endings import join_threads, text_of
from polyrank.errors import UsageError
from polyrank.tensor.active_modes import own_modes
from polyrank.tensor.local_tensor_mode import checked_ranks

__all__ = ["LocalRunnerMode"]


class LocalRunnerMode:
    """Runs `fn(0)`, …, `fn(concurrency - 1)` side by side, each in a thread, one at a time.

    Each is a program of its own, which enters a LocalTensorMode over the ranks that it acts for: a
    pipeline's stages, say. Sends and receives find each other across threads; a receive lets the
    others run until its message was sent. Which thread runs changes nowhere else, so that a run is
    the same each time.

    Args:
        ranks: all ranks that the threads act for: a world size, or the global ranks.
        concurrency: the number of threads.
        fn: called with the thread's number.

    Leaving the block waits for all threads, and raises what the first that failed raised.

    Raises:
        UsageError: no ranks, no thread, or another LocalRunnerMode is running.
        DeadlockError: on every thread that waits, once no thread can go on.

    Source: `torch.distributed._local_tensor.LocalRunnerMode`, whose names it has. There, messages
    need one tensor and one peer for each rank, and a thread that fails leaves the others waiting.
    """

    runner_context: ClassVar[threading.local] = threading.local()
    _running: ClassVar[LocalRunnerMode | None] = None

    def __init__(
        self, ranks: frozenset[int] | int, concurrency: int, fn: Callable[[int], None]
    ) -> None:
        if concurrency < 1:
            raise UsageError(f"concurrency={concurrency!r}; it must be 1 thread or more")
        self._ranks = checked_ranks(ranks)
        self._fn = fn
        self._turns = _C.RankTurns(concurrency, noun="runner")
        self._mailbox = _C.Mailbox()
        self._rank_threads = [_C.RankThread(self._turns, runner) for runner in range(concurrency)]
        self._runners = [
            threading.Thread(target=self._run, args=(runner,), name=f"runner {runner}", daemon=True)
            for runner in range(concurrency)
        ]
        self._errors: list[BaseException] = []  # in the order in which threads failed
        self._recv_objects: dict[int, dict[int, deque[object]]] = defaultdict(
            lambda: defaultdict(deque)
        )
        self._waiting: list[Any] = []  # events of those who wait for an object

    @staticmethod
    def current() -> LocalRunnerMode:
        """The one that is running.

        Raises:
            UsageError: none is.
        """
        if LocalRunnerMode._running is None:
            raise UsageError("LocalRunnerMode is not enabled: nothing runs in one")
        return LocalRunnerMode._running

    def __enter__(self) -> LocalRunnerMode:
        if LocalRunnerMode._running is not None:
            raise UsageError("LocalRunnerMode is already running; a process runs one at a time")
        LocalRunnerMode._running = self
        for runner in self._runners:
            runner.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        try:
            join_threads(self._runners, self._stop)
        finally:
            LocalRunnerMode._running = None
        if self._errors and exc_val is None:
            raise self._errors[0]

    def _stop(self) -> None:
        sys.stderr.write("interrupted: runners end when they next wait for a message\n")
        self._turns.stop("the run was interrupted")

    def _run(self, id: int) -> None:
        own = self._rank_threads[id]
        LocalRunnerMode.runner_context.id = id
        self._mailbox.share()
        try:
            own.begin()
            LocalRunnerMode.runner_context.has_turn = True
            with own_modes(), torch.autograd.set_multithreading_enabled(False):
                self._fn(id)
        except BaseException as error:  # noqa: BLE001 - leaving the block raises it
            self._errors.append(error)
            own.end_failed(text_of(error))
        else:
            own.end()

    # --- PyTorch's names for what a program that passes objects needs -----------------------------

    def _own_thread(self) -> Any:
        return self._rank_threads[LocalRunnerMode.runner_context.id]

    def _acquire_run_lock(self) -> None:
        """Wait until the calling thread may run."""
        self._own_thread().resume()
        LocalRunnerMode.runner_context.has_turn = True

    def _release_run_lock(self) -> None:
        """Let the others run until `_acquire_run_lock()`."""
        LocalRunnerMode.runner_context.has_turn = False
        self._own_thread().pause()

    def _assert_holds_run_lock(self) -> None:
        if not getattr(LocalRunnerMode.runner_context, "has_turn", False):
            raise UsageError("the calling thread does not hold the run lock: it is not its turn")

    def _get_recv_object(self, src: int, dst: int) -> object | None:
        """Take the first object from `src` (-1: from any rank) to `dst`; None if there is none."""
        sent = self._recv_objects[dst]
        for peer in [src] if src != -1 else sorted(sent):
            if sent[peer]:
                return sent[peer].popleft()
        return None

    def _signal_send(self, src: int, dst: int, obj: object) -> None:
        """Hand `obj` to who receives on rank `dst` from rank `src`."""
        if obj is None:
            raise UsageError(f"rank {src} sends None to rank {dst}; None stands for no object")
        self._recv_objects[dst][src].append(obj)
        for event in self._waiting:
            event.set()
        self._waiting.clear()

    def _wait_recv(self, src: int, dst: int, post: Callable[[object], None]) -> None:
        """Call `post` with an object from `src` (-1: from any rank) to `dst`, once there is one."""
        while (obj := self._get_recv_object(src, dst)) is None:
            own = self._own_thread()
            event = _C.RankEvent(own, f"an object from rank {src} to rank {dst}")
            self._waiting.append(event)
            event.wait()
        post(obj)
