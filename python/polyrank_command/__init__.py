"""The command `polyrank`, also where nothing of the package was compiled for the torch that is there.

A package of its own, loaded before `polyrank`: an import of that is an ImportError then, except for a command, which says
`--help`, `--version` and what `polyrank doctor` finds all the same, and of anything else one sentence.
"""

from __future__ import annotations

import sys

__all__ = ["main"]

_EXTENSION = "polyrank._C"
_EXIT_USAGE = 2


def main() -> None:
    """Entry point of the `polyrank` command."""
    from polyrank.cli import main as run_command

    try:
        run_command()
    except ImportError as error:
        if error.name != _EXTENSION:
            raise
        sys.exit(_told(error))


def _told(error: ImportError) -> int:
    sys.stderr.write(f"Error: {error}.\n`polyrank doctor` says what there is.\n")
    return _EXIT_USAGE
