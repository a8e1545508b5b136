"""`polyrank serve`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from polyrank import exit_codes
from polyrank.cli.app import app

_EXIT_NONE = 1
_ANSWER_SECONDS = 10.0
_STOP_SECONDS = 10.0


@app.command()
def serve(
    idle: Annotated[
        float,
        typer.Option(min=0.0, metavar="SECONDS", help="It ends when there was no run for so long."),
    ] = 900.0,
    preload: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A module to import, for runs that say the same --preload. May be repeated.",
        ),
    ] = None,
    status: Annotated[
        bool,
        typer.Option("--status", help="Tell which servers there are, and which a run here uses."),
    ] = False,
    stop: Annotated[
        bool, typer.Option("--stop", help="End all servers; runs go on to their end.")
    ] = False,
) -> None:
    """Keep a process with PyTorch imported, so that runs start at once.

    It returns when the server is there, which goes on in the background. `polyrank run` (--world
    processes) uses it by itself where it fits: the same interpreter and sys.path, the same torch and
    polyrank, and the same variables of the environment that imports read (OMP_NUM_THREADS, PYTHONHASHSEED
    and so on). Else it runs as without; --verbose says why. `polyrank run --no-serve` and
    POLYRANK_SERVE=0 do without.

    **Exit codes**

    - 0: it is there (or was before); with --status: a run here uses one
    - 1: with --status: a run here uses none
    - 2: it can't be started
    """
    if sys.platform != "linux":
        raise typer.BadParameter("a server needs Linux", param_hint="polyrank serve")
    if status and stop:
        raise typer.BadParameter("is for itself", param_hint="--stop")
    if status:
        raise typer.Exit(_print_status())
    if stop:
        raise typer.Exit(_stop_all())
    used = next((one for one in _servers() if _fits(one) and not _lacks(one, preload or ())), None)
    if used is not None:
        typer.echo(f"there is one: process {used['process']}")
        return
    from polyrank.fork_server.background import start_server

    pid, reason = start_server(tuple(preload or ()), idle)
    if reason:
        typer.echo(reason, err=True)
        raise typer.Exit(exit_codes.USAGE)
    typer.echo(f"process {pid} serves; it ends when there was no run for {idle:g} s")


def _servers(wants: str = "status") -> list[dict[str, Any]]:
    """What each server answers; those that do not answer are left out, with a line."""
    from polyrank.fork_server.client import request
    from polyrank.fork_server.messages import receive, send
    from polyrank.fork_server.place import NotPrivateError, connect, folder_of_sockets, sockets

    try:
        found = sockets(folder_of_sockets())
    except NotPrivateError as why:
        raise typer.BadParameter(str(why), param_hint="polyrank serve") from why
    answers = []
    for path in found:
        try:
            connection = connect(path, _ANSWER_SECONDS)
            if connection is not None:
                with connection:
                    send(connection, request() | {"wants": wants})
                    answers.append(receive(connection)[0])
        except (OSError, EOFError, ValueError) as why:
            typer.echo(f"process {path.stem} does not answer: {why or 'it has ended'}", err=True)
    return answers


def _fits(server: dict[str, Any]) -> bool:
    return server.get("why_not") is None


def _lacks(server: dict[str, Any], preloaded: Any) -> bool:
    return set(server.get("preloaded", ())) != set(preloaded)


def _print_status() -> int:
    servers = _servers()
    for one in servers:
        minutes = (time.time() - one["since"]) / 60
        preloaded = f", with {', '.join(one['preloaded'])}" if one["preloaded"] else ""
        use = (
            "a run here uses it" if _fits(one) else f"a run here does not use it: {one['why_not']}"
        )
        typer.echo(
            f"process {one['process']}{preloaded}: since {minutes:.1f} min, {one['runs']} runs, "
            f"{one['running']} running; {use}"
        )
    if not servers:
        typer.echo("no server runs")
    return 0 if any(map(_fits, servers)) else _EXIT_NONE


def _stop_all() -> int:
    from polyrank.fork_server.place import folder_of_sockets, socket_of

    stopped = [int(one["process"]) for one in _servers("stop")]
    sockets = [socket_of(pid, folder_of_sockets()) for pid in stopped]
    until = time.monotonic() + _STOP_SECONDS
    while any(map(Path.exists, sockets)) and time.monotonic() < until:
        time.sleep(0.01)
    typer.echo(f"ended: {len(stopped)}")
    return 0 if not any(map(os.path.exists, sockets)) else _EXIT_NONE
