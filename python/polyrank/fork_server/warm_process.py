"""What a server has behind it that each launcher would do anew."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from polyrank.divergence.mutate.mutants import VARIABLE as MUTATION
from polyrank.fork_server import asked_variables, search_path
from polyrank.fork_server.asked_for import AskedFor
from polyrank.fork_server.loaded_files import LoadedFiles
from polyrank.fork_server.messages import Message
from polyrank.fork_server.situation import difference, situation

__all__ = ["WarmProcess"]

# What `polyrank run` imports before it forks.
_OF_A_LAUNCHER = (
    "polyrank.cli.app",
    "polyrank.cli.check",
    "polyrank.cli.doctor",
    "polyrank.cli.forecast",
    "polyrank.cli.progress",
    "polyrank.cli.run",
    "polyrank.cli.run_command",
    "polyrank.cli.settings",
    "polyrank.cli.sweep",
    "polyrank.process_ranks.room",
    "polyrank.worlds.processes.launching",
)
_MOST_PRINTED = 1 << 20


class WarmProcess:
    """This process, with PyTorch and what a launcher imports; and what it may stand for.

    Args:
        preloaded: Modules to import, too.
        asked: Notes since the start of the process which variables and modules are asked for.

    Raises:
        ImportError: there is no such module.
        RuntimeError: a file that it has loaded was written meanwhile, or its collectives are mutated.
    """

    def __init__(self, preloaded: Sequence[str], asked: AskedFor) -> None:
        started = time.monotonic()
        if MUTATION in asked.variables.values:
            raise RuntimeError(f"{MUTATION} is set: it is for runs")
        self.preloaded = tuple(preloaded)
        self._variables = asked.variables.values
        self._situation = situation()
        self._search_path = search_path.search_path()
        path = sys.path[:]
        self.printed = _printed_by(lambda: _import_all(preloaded))
        sys.path[:] = path
        self._asked = asked.variables.stop()
        self._tried = asked.modules.stop()
        self._files = LoadedFiles()
        changed = self._files.changed_after(time.monotonic() - started)
        if changed is not None:
            raise RuntimeError(f"{changed} changed while it was imported: try again")
        gc.collect()
        gc.freeze()

    def why_not(self, wanted: Message) -> str | None:
        """Why a process of this one can't take the place of that command, in words; None: it can."""
        reason = difference(self._situation, wanted.get("situation"))
        if reason is not None:
            return reason
        name = asked_variables.first_difference(self._asked, self._variables, wanted["variables"])
        if name is not None:
            return f"the variable {name} is another one than the server's"
        return search_path.first_difference(self._search_path, wanted["search_path"], self._tried)

    def changed_file(self) -> str | None:
        """A file that this process has loaded and that is another one now."""
        return self._files.changed()


def _import_all(preloaded: Sequence[str]) -> None:
    from polyrank.process_ranks.warm import make_warm

    for module in _OF_A_LAUNCHER:
        importlib.import_module(module)
    make_warm(preloaded)


def _printed_by(call: Any) -> bytes:
    """What it writes to standard error, at whatever level."""
    sys.stderr.flush()
    kept, file = os.dup(2), os.memfd_create("what imports print")
    os.dup2(file, 2)
    try:
        call()
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        printed = os.pread(file, _MOST_PRINTED, 0)
        os.close(file)
    return printed
