"""What a process has asked for since its start: variables and modules."""

from __future__ import annotations

from polyrank.fork_server.asked_variables import AskedVariables
from polyrank.fork_server.search_path import TriedModules

__all__ = ["AskedFor", "asked_since_start", "note_from_now"]


class AskedFor:
    """Notes it from now on."""

    def __init__(self) -> None:
        self.variables = AskedVariables()
        self.modules = TriedModules()


_noted: list[AskedFor] = []  # one at most


def note_from_now() -> None:
    """Note what this process asks for, before it imports anything that could."""
    _noted[:] = [AskedFor()]


def asked_since_start() -> AskedFor:
    """What note_from_now() notes."""
    if not _noted:
        note_from_now()
    return _noted[0]
