"""Runs a function once per rank, each in a thread of its own."""

from __future__ import annotations

import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from polyrank import _C
from polyrank.any_world.debug_level import unwrapped_groups
from polyrank.any_world.failed_ranks import RanksFailedError, note_rank
from polyrank.any_world.progress import RanksNow, tells_of_ranks
from polyrank.any_world.rank_endings import join_threads, text_of, text_of_unfinished
from polyrank.errors import DivergenceError, UsageError
from polyrank.python_support import require_tried_python
from polyrank.rank_threads.child_processes import fork_server_ended
from polyrank.rank_threads.compiled_regions import CompiledRegions
from polyrank.rank_threads.operators import Operators
from polyrank.rank_threads.output import output_in_files, prefixed_output
from polyrank.rank_threads.outside_waits import outside_waits_give_the_turn
from polyrank.rank_threads.own_modules import OwnModules
from polyrank.rank_threads.own_settings import OwnSettings
from polyrank.rank_threads.own_signals import RankSignals
from polyrank.rank_threads.process_state import process_state, restored
from polyrank.rank_threads.random_streams import random_streams
from polyrank.rank_threads.rank_globals import RankGlobals, rank_globals, thread_globals
from polyrank.rank_threads.scripts import Script
from polyrank.rank_threads.started_threads import started_threads_ended
from polyrank.rank_threads.torch_globals import globals_by_thread
from polyrank.rank_threads.watching import watched
from polyrank.tensor.active_modes import enabled_local_tensor_mode
from polyrank.world_size import check_world_size

__all__ = ["RanksFailedError", "run_processes", "run_ranks", "run_script"]

Result = TypeVar("Result")

# PyTorch's globals are replaced while ranks run: held by the one run that may be on.
_one_run = threading.Lock()


@dataclass(frozen=True)
class _Options:
    """How a run goes."""

    world_size: int
    schedule: str = "in_turn"
    seed: int = 0
    modules: OwnModules | None = None  # which are ranks' own
    random_seed: int | None = None  # of `random` and numpy; None: by the process's state
    makes_default_group: bool = True


class _Run:
    """The threads of one run, and what became of them."""

    def __init__(self, options: _Options) -> None:
        world_size = self.world_size = options.world_size
        self.makes_default_group = options.makes_default_group
        self.modules = options.modules
        self.turns = _C.RankTurns(
            world_size, random=options.schedule == "random", seed=options.seed
        )
        self.streams = random_streams(options.random_seed)
        self.state = process_state(self.streams, self.modules)
        # All before the first one runs: each takes over the state of the process's generator.
        self.rank_threads = [
            _C.RankThread(self.turns, rank, self.state) for rank in range(world_size)
        ]
        self.compiled = CompiledRegions(self.state)
        self.operators = Operators(self.modules)
        self.signals = RankSignals()
        self.settings = OwnSettings(self.state)
        self.store = _C.RankStore(self.turns)
        self.stopped = threading.Event()  # wakes ranks that sleep
        self.results: list[Any] = [None] * world_size
        self.errors: list[tuple[int, BaseException]] = []  # in the order in which ranks failed

    def run_rank(self, rank: int, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        rank_thread = self.rank_threads[rank]
        own = RankGlobals(
            rank_thread,
            self.world_size,
            self.store,
            self.stopped,
            self.compiled,
            self.operators,
            self.signals,
            self.settings,
        )
        try:
            rank_thread.begin()
            _C.own_directory()
            with (
                thread_globals(own),
                self.signals.of_rank(own),
                torch.autograd.set_multithreading_enabled(False),
            ):
                if self.makes_default_group:
                    dist.init_process_group()
                    own.is_default_group_claimed = False  # the program may make it, too
                with (
                    own.exit_functions.called_afterwards(),
                    fork_server_ended(),
                    started_threads_ended(own),
                ):
                    self.results[rank] = function(*args)
        except SystemExit as request:
            if request.code:
                self.fail(rank, request)
            else:
                rank_thread.end()
        except BaseException as error:  # noqa: BLE001 - it ends the rank, and the run tells
            self.fail(rank, error)
        else:
            rank_thread.end()
        finally:
            self.signals.main.told_of_end()

    def fail(self, rank: int, error: BaseException) -> None:
        """End a rank that raised."""
        self.errors.append((rank, error))
        self.rank_threads[rank].end_failed(text_of(error))

    def stop(self) -> None:
        """End all ranks, on Ctrl-C."""
        sys.stderr.write("interrupted: ranks end at their next collective or sleep\n")
        self.stopped.set()
        self.turns.stop("the run was interrupted")

    def error(self) -> BaseException | None:
        """What to raise, if anything."""
        if not self.errors:
            return None
        first_rank, first = self.errors[0]
        exceptions = []
        for rank, error in self.errors:
            exceptions.append(error if isinstance(error, Exception) else RuntimeError(repr(error)))
            note_rank(exceptions[-1], rank)
        message = (
            f"{len(self.errors)} of {self.world_size} ranks failed; first rank {first_rank}: "
            + text_of(first)
        )
        return RanksFailedError(message, exceptions)


def run_ranks(
    function: Callable[..., Result],
    world_size: int,
    *args: Any,
    world: str = "threads",
    schedule: str | None = None,
    seed: int = 0,
    own_modules: Sequence[str] = (),
) -> list[Result]:
    """Call `function(*args)` on each rank and return what each returned, by rank.

    With `world="processes"` each rank is a process, forked off this one: it has all that this one
    has, and changes a copy. Function and arguments need no pickling, results and exceptions do. They
    run side by side unless there is a `schedule`; what follows on modules is of the threads world.

    Each rank is a thread with process groups, generators and a `dist.get_rank()` of its own, so
    that the function may branch on the rank. The default group is there, and
    `init_process_group` may be called as in a process of its own, with any backend. One rank runs
    at a time, until it has to wait: `schedule="in_turn"` lets go on who could first,
    `schedule="random"` draws who is next from `seed`. Warns of
    messages that nobody received and collectives that members never joined.

    Modules are shared, with their globals, but for packages that `own_modules` names: of these each
    rank that imports them while it runs gets its own.

    Raises:
        UsageError: an argument is wrong, another run of threads is on in this process, or a lockstep
            mode is.
        RanksFailedError: ranks raised. Where ranks launched collectives that do not match, that is a
            CollectiveMismatchError on each; where none could proceed, a DeadlockError that names
            who waits where for whom.
    """
    if world not in ("threads", "processes"):
        raise UsageError(f"world={world!r}; there are 'threads' and 'processes'")
    if schedule not in (None, "in_turn", "random"):
        raise UsageError(f"schedule={schedule!r}; there are 'in_turn' and 'random'")
    if world == "processes":
        if own_modules:
            raise UsageError(
                "own_modules are for world='threads': each process has its own modules"
            )
        if seed and schedule != "random":
            raise UsageError(f"seed={seed}, and nothing is drawn unless schedule='random'")
        if _C.is_tracing():
            raise UsageError(
                "a trace is on, and ranks that are processes launch in their own, where it sees "
                "nothing: open polyrank.trace() in the function, or use world='threads'"
            )
        from polyrank.process_ranks.functions import run_ranks_in_processes

        _check(world_size)
        return run_ranks_in_processes(function, world_size, args, schedule=schedule, seed=seed)
    if isinstance(own_modules, str):
        raise UsageError(f"own_modules={own_modules!r}; it must be a list of packages' names")
    own = OwnModules(own=own_modules, others=False) if own_modules else None
    return _run_here(_Options(world_size, schedule or "in_turn", seed, own), function, args)


def run_processes(program: Callable[[int], Any], world_size: int) -> None:
    """Call `program(rank)` on each rank, which makes its default group itself, as a process does.

    Raises: as run_ranks().
    """

    def run() -> None:
        program(_calling_rank())

    _run_here(_Options(world_size, makes_default_group=False), run, ())


def _calling_rank() -> int:
    own = rank_globals()
    assert own is not None  # noqa: S101
    return own.rank_thread.rank


def _check(world_size: int) -> None:
    check_world_size(world_size)
    if enabled_local_tensor_mode() is not None:
        raise UsageError(
            "run_ranks was called in lockstep, where all ranks run at once already; leave the mode "
            "first, or call the function itself"
        )


def _run_here(
    options: _Options, function: Callable[..., Result], args: tuple[Any, ...]
) -> list[Result]:
    _check(options.world_size)
    if not _one_run.acquire(blocking=False):
        raise UsageError("ranks run in this process already; run_ranks runs one world at a time")
    try:
        return _run_threads(_Run(options), function, args)
    finally:
        _one_run.release()


def run_script(
    script: Script,
    world_size: int,
    on_rank: Callable[[int], AbstractContextManager[Any]] = nullcontext,
    *,
    schedule: str = "in_turn",
    seed: int = 0,
    own_modules: Sequence[str] = (),
    shared_modules: Sequence[str] = (),
    tells_shared: bool = False,
    log_folder: Path | None = None,
) -> None:
    """Run a script on each rank, which makes its default group itself, as under torchrun.

    `on_rank`, given the rank, is entered on each rank's thread around it. Each rank has its own of
    the modules that it imports, but for `shared_modules` and what OwnModules names, less
    `own_modules`; standard error is told which if `tells_shared`. What ranks write goes to the log
    folder if there is one.

    Raises:
        RanksFailedError: as run_ranks().
        SystemExit: so the first rank to fail did; what all did is its cause.
    """

    def program() -> None:
        with on_rank(_calling_rank()):
            try:
                script.run()
            except (Exception, DivergenceError):
                if log_folder is not None:
                    traceback.print_exc()  # as a process does
                raise

    modules = OwnModules(own=own_modules, shared=shared_modules)
    options = _Options(
        world_size,
        schedule,
        seed,
        modules=modules,
        random_seed=0,  # not the schedule's: only the order is to differ
        makes_default_group=False,
    )
    output = prefixed_output() if log_folder is None else output_in_files(log_folder, world_size)
    with _one_run, output:
        run = _Run(options)
        try:
            _run_threads(run, program, ())
        except RanksFailedError as failed:
            _, first = run.errors[0]
            if isinstance(first, SystemExit):
                raise first from failed
            raise
        finally:
            if tells_shared:
                sys.stderr.write(modules.told())


def _ranks_now(turns: _C.RankTurns, threads: Sequence[threading.Thread]) -> RanksNow:
    return RanksNow(sum(thread.is_alive() for thread in threads), turns.describe({}))


def _run_threads(run: _Run, function: Callable[..., Result], args: tuple[Any, ...]) -> list[Result]:
    require_tried_python("the threads world")
    threads = [
        threading.Thread(
            target=run.run_rank, args=(rank, function, args), name="MainThread", daemon=True
        )
        for rank in range(run.world_size)
    ]
    with globals_by_thread(), unwrapped_groups(), ExitStack() as stack:
        if run.modules is not None:
            stack.enter_context(run.modules.watching(run.state.look_for_modules))
        for stream in run.streams:
            stack.enter_context(stream.looked_up())
        stack.callback(run.operators.end)
        stack.enter_context(restored(run.state, run.modules))
        stack.enter_context(outside_waits_give_the_turn(run.turns))
        stack.enter_context(watched(run.turns, threads))
        stack.enter_context(tells_of_ranks(partial(_ranks_now, run.turns, threads)))
        for thread in threads:
            thread.start()
        stack.callback(run.signals.restore)
        join_threads(threads, run.stop, run.signals.main.wait)
        for thread, rank_thread in zip(threads, run.rank_threads, strict=True):
            if not thread.is_alive():  # after Ctrl-C one may be
                rank_thread.wait_for_exit()  # PyTorch's thread_locals hold objects of the rank's
    error = run.error()
    if error is not None:
        raise error
    unfinished = run.turns.leftovers()
    if unfinished:
        warnings.warn(text_of_unfinished(unfinished), stacklevel=4)
    return run.results
