"""Starts a server in the background."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from polyrank.fork_server.asked_for import asked_since_start
from polyrank.fork_server.place import NotPrivateError, folder_of_sockets
from polyrank.process_ranks.forking import fork_process
from polyrank.process_ranks.output import flush_output

__all__ = ["start_server"]

_READY = b"ready"


def start_server(preloaded: Sequence[str], idle_seconds: float) -> tuple[int, str]:
    """Start it, and wait until it takes commands; its process id, and why that failed, or nothing."""
    source, sink = os.pipe()
    flush_output()
    pid = fork_process(lambda: _serve(sink, preloaded, idle_seconds))
    os.close(sink)
    told = b""
    while more := os.read(source, 1 << 16):
        told += more
    os.close(source)
    if told == _READY:
        return pid, ""
    _, status = os.waitpid(pid, 0)
    return pid, told.decode(errors="replace") or f"it died (status {status}) while it imported"


def _serve(sink: int, preloaded: Sequence[str], idle_seconds: float) -> int:
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)  # whoever started it may have ignored them
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(nothing, fd)
    os.close(nothing)
    try:
        from polyrank.fork_server.server import Server
        from polyrank.fork_server.warm_process import WarmProcess

        process = WarmProcess(preloaded, asked_since_start())
        os.chdir("/")
        server = Server(process, folder_of_sockets(), idle_seconds)
    except (ImportError, RuntimeError, NotPrivateError, OSError) as why:
        os.write(sink, f"no server: {why}".encode())
        return 1
    os.write(sink, _READY)
    os.close(sink)
    server.serve()
    sys.stdout.flush()
    return 0
