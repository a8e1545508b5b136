"""The command line: `polyrank run`."""

from polyrank.cli.app import main

__all__ = ["main"]
