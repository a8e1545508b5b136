"""Runs one program in the world that was asked for."""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from polyrank.cli.device import CudaOnCpu, cuda_on_cpu
from polyrank.cli.environment import torchrun_environment, variables_of_rank
from polyrank.cli.json_report import json_document, write_json, write_text
from polyrank.cli.options import RunOptions
from polyrank.cli.process_group import fake_process_group, lockstep_process_group
from polyrank.cli.report import RunMeter, print_report
from polyrank.errors import CollectiveError, DivergenceError, UnsupportedOpError
from polyrank.install import install, uninstall
from polyrank.local_tensor_mode import LocalTensorMode
from polyrank.process_groups import known_process_groups
from polyrank.rank_threads import RanksFailedError, Script, run_script
from polyrank.trace import Trace, trace

# Exit code by what the script raised; docs/run.md.
_EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (DivergenceError, 3),
    (CollectiveError, 4),
    (UnsupportedOpError, 5),
)
EXIT_RAISED = 1
_EXIT_USAGE = 2
_EXIT_NO_REPORT = 6


def run_program(options: RunOptions) -> int:
    """Run the program, report what it did, and return the exit code."""
    meter = RunMeter(options.world_size, options.rank, counts_all_ranks=options.world == "threads")
    recorded: Trace | None = None

    def run() -> None:
        nonlocal recorded
        with (
            _world(options) as maps_cuda,
            _progress(options),
            contextlib.ExitStack() as stack,
        ):
            if options.trace_file is not None:
                recorded = stack.enter_context(trace())
            run_as_main(options, maps_cuda=maps_cuda)

    exit_code, raised = exit_code_of(run)
    error = None if raised is None else {"type": type(raised).__name__, "message": str(raised)}
    report = meter.read()
    print_report(report)
    if (json_file := options.json_file) is not None:
        document = json_document(options, report, exit_code, error)
        exit_code = save(partial(write_json, json_file, document)) or exit_code
    if (trace_file := options.trace_file) is not None and recorded is not None:
        text = _trace_file_text(recorded)
        exit_code = save(partial(write_text, trace_file, text)) or exit_code
    return exit_code


def exit_code_of(run: Callable[[], None]) -> tuple[int, BaseException | None]:
    """Run a program to its end; its exit code, and what it raised, which is printed."""
    try:
        run()
    except SystemExit as exit_request:
        return _code_of(exit_request), None
    except KeyboardInterrupt:
        raise
    except BaseException as raised:  # noqa: BLE001  whatever it was, the report is still worth having
        return _print_error(raised), raised
    return 0, None


@contextlib.contextmanager
def _world(options: RunOptions) -> Iterator[bool]:
    """Enter the world; tell whether cuda means the CPU in it."""
    maps_cuda = uses_cpu_for_cuda(options)
    with contextlib.ExitStack() as stack:
        if options.world != "threads":
            install()
            stack.callback(uninstall)
        stack.enter_context(
            torchrun_environment(
                options.world_size,
                options.local_world_size,
                options.rank,
                by_thread=options.world == "threads",
            )
        )
        stack.enter_context(_process_group(options))
        if maps_cuda:
            stack.enter_context(cuda_on_cpu(options.local_world_size))
        if options.world == "lockstep":
            stack.enter_context(LocalTensorMode(options.world_size))
        yield maps_cuda


@contextlib.contextmanager
def _process_group(options: RunOptions) -> Iterator[None]:
    if options.rank is not None:
        with fake_process_group(options.world_size, options.rank):
            yield
    elif options.world == "threads":  # which makes its own
        yield
    else:
        with (
            known_process_groups(),
            lockstep_process_group(options.world_size, options.local_world_size),
        ):
            yield


def uses_cpu_for_cuda(options: RunOptions) -> bool:
    """Whether cuda means the CPU in this run."""
    if options.device is not None:
        return options.device == "cpu"
    return not torch.cuda.is_available() and _mentions_cuda(options)


def _mentions_cuda(options: RunOptions) -> bool:
    # Mapping devices costs each call of torch a detour, so a script without the word goes without.
    return options.is_module or "cuda" in Path(options.script).read_text(errors="replace")


def run_as_main(options: RunOptions, *, maps_cuda: bool = False) -> None:
    """Run the script or module as `__main__`, with its arguments."""
    old_argv, old_path = sys.argv[:], sys.path[:]
    sys.argv = [options.script, *options.arguments]
    try:
        sys.path.insert(0, "" if options.is_module else str(Path(options.script).resolve().parent))
        if options.world == "threads":
            _run_rank_threads(options, maps_cuda)
        elif options.is_module:
            runpy.run_module(options.script, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(options.script, run_name="__main__")
    finally:
        sys.argv, sys.path[:] = old_argv, old_path


def _run_rank_threads(options: RunOptions, uses_cpu_for_cuda: bool) -> None:
    """Run the script in as many schedules as were asked for, up to the first that fails."""
    script = Script(options.script, is_module=options.is_module)
    for seed in range(options.seed, options.seed + options.num_schedules):
        log_folder = options.log_folder
        if log_folder is not None and options.num_schedules > 1:
            log_folder /= f"seed_{seed}"
        try:
            run_script(
                script,
                options.world_size,
                partial(_on_rank, options, uses_cpu_for_cuda),
                schedule=options.schedule,
                seed=seed,
                shared_modules=options.shared_modules,
                log_folder=log_folder,
            )
        except BaseException:
            if options.schedule == "random":
                sys.stderr.write(
                    f"failed with seed {seed}; --schedule random --seed {seed} does the same again\n"
                )
            raise


@contextlib.contextmanager
def _on_rank(options: RunOptions, uses_cpu_for_cuda: bool, rank: int) -> Iterator[None]:
    """What surrounds the script on the thread of one rank."""
    os.environ.update(variables_of_rank(rank, options.local_world_size))
    # A mode of torch's functions belongs to a thread, and so to a rank.
    with CudaOnCpu() if uses_cpu_for_cuda else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def _progress(options: RunOptions) -> Iterator[None]:
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        yield
        return
    which = "" if options.rank is None else f"rank {options.rank:,} of "
    with console.status(f"{options.script} on {which}{options.world_size:,} ranks"):
        yield


def _code_of(exit_request: SystemExit) -> int:
    if exit_request.code is None:
        return 0
    if isinstance(exit_request.code, int):
        return exit_request.code
    sys.stderr.write(f"{exit_request.code}\n")
    return EXIT_RAISED


def _trace_file_text(recorded: Trace) -> str:
    """Chrome's trace events, and beside them, where viewers don't look, the JSON form."""
    events = recorded.to_chrome_trace()
    return f'{{"polyrank": {recorded.to_json()}, {events[1:]}\n'


def save(write: Callable[[], None]) -> int:
    """Write a report; an exit code, 0 if it could be written."""
    try:
        write()
    except OSError as error:
        sys.stderr.write(f"the report can't be written: {error}\n")
        return _EXIT_NO_REPORT
    return 0


def _print_error(error: BaseException) -> int:
    """Print the traceback from the script's first frame on; return the exit code.

    Of several ranks' errors the first, which is the cause, and a line for each of the others.
    """
    if isinstance(error, RanksFailedError):
        cause, *others = error.exceptions
        exit_code = _print_error(cause)
        for other in others:
            note = getattr(other, "__notes__", ["raised on a rank"])[-1]
            sys.stderr.write(
                f"{note}: {type(other).__name__}: {str(other).partition(chr(10))[0]}\n"
            )
        return exit_code
    report = traceback.TracebackException.from_exception(error)
    has_started = _drop_own_frames(report)
    if isinstance(error, ImportError) and not has_started:
        sys.stderr.write(f"there is no such module to run: {error}\n")
        return _EXIT_USAGE
    sys.stderr.write("".join(report.format()))
    return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), EXIT_RAISED)


def _drop_own_frames(report: traceback.TracebackException) -> bool:
    """Drop the frames up to the script's first, from causes too; tell whether there is one."""
    for cause in (report.__cause__, report.__context__):
        if cause is not None:
            _drop_own_frames(cause)
    package = Path(__file__).parents[1]
    own = (str(package / "cli"), str(package / "rank_threads"))
    outside = [
        index
        for index, frame in enumerate(report.stack)
        if not frame.filename.startswith((*own, "<frozen "))  # runpy is frozen
        and frame.filename != contextlib.__file__
    ]
    del report.stack[: outside[0] if outside else len(report.stack)]
    return bool(outside)
