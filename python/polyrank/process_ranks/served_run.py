"""Whether this process is a launcher that a server has forked, and what that means for its run."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["HandedBackError", "ServedRun", "be_served", "private_files", "served_run"]


class HandedBackError(BaseException):
    """The command is to run it alone; nothing has been done. No handler of errors takes it."""


@dataclass(frozen=True)
class ServedRun:
    """What the server has that a fresh launcher has not."""

    preloaded: tuple[str, ...]  # modules that the server was told to import
    printed: (
        bytes  # on standard error while modules were imported, which a fresh launcher prints too
    )
    private_files: tuple[int, ...]  # descriptors that are not for ranks

    def take(
        self, world: str, preloaded: Sequence[str], folder: str, *, refused: str | None
    ) -> None:
        """Take the run, once its arguments are known.

        Args:
            world: The name of its world.
            preloaded: What it is to import before the forks.
            folder: What stands first in sys.path of its script.
            refused: An option that it has and that excludes a server, if any.

        Raises:
            HandedBackError: it needs another launcher.
        """
        if world == "real":
            raise HandedBackError("ranks of --world real are started as themselves")
        if refused is not None:
            raise HandedBackError(f"{refused} is for launchers of its own")
        for name in self.preloaded:
            if name not in preloaded:
                raise HandedBackError(f"the server has imported {name}: say --preload {name}")
            top = name.partition(".")[0]
            if _file_of(top, folder) != getattr(sys.modules.get(top), "__file__", None):
                raise HandedBackError(f"{name} is another module than the server's")
        if world != "processes":
            _be_the_program()
        os.write(2, self.printed)


def _be_the_program() -> None:
    """The program runs in this process: it has all objects, and random streams of its own."""
    from polyrank.process_ranks.become_rank import seed_generators

    gc.unfreeze()
    seed_generators(None)


_own: list[ServedRun] = []  # one at most


def be_served(run: ServedRun) -> None:
    """Say it, once the process is there."""
    _own[:] = [run]


def served_run() -> ServedRun | None:
    """What it is; None: this process was started as itself."""
    return _own[0] if _own else None


def private_files() -> tuple[int, ...]:
    """File descriptors of the launcher that are not for ranks."""
    return _own[0].private_files if _own else ()


def _file_of(module: str, folder: str) -> str | None:
    before = sys.path[:]
    sys.path[: 0 if sys.flags.safe_path else 1] = [folder]
    loaded = sys.modules.pop(module, None)  # whose own spec would be the answer
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    finally:
        sys.path[:] = before
        if loaded is not None:
            sys.modules[module] = loaded
    return None if spec is None else spec.origin
