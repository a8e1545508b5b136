"""The command line. What a run in a server needs is imported first, and all else if none takes it."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Entry point of the `polyrank` command."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command == "run":
        from polyrank.fork_server.client import run_in_server

        run_in_server()
    elif command == "serve":
        from polyrank.fork_server.asked_for import note_from_now

        note_from_now()
    from polyrank.cli.app import main as run_command

    run_command()
