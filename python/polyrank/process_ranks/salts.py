"""Starts a command anew, so that its ranks are forked off launchers with other hashes of strings.

NOTE [Launchers with salts of their own] in salted_launchers.h says how. PyTorch is not imported here: the
command that is started anew imports it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

from polyrank import compiled_for

__all__ = ["start_with_salts"]

# As SaltedLauncher has them.
_DESCRIPTION = "POLYRANK_SALTED_LAUNCHERS"
_PRELOADED_BEFORE = "POLYRANK_PRELOADED_BEFORE"
# Says that the command was started anew; a link that is no more needed, or nothing.
_LINK = "POLYRANK_PRELOADED_BY_LINK"

_ORDERS = (None, "in_turn", "random")
_SEPARATORS = " :"  # of LD_PRELOAD


def start_with_salts(num_salts: int, world_size: int, order: str | None, seed: int) -> str | None:
    """Start this command anew with as many launchers, and return in each of them.

    Returns: why that can't be, in words, or None.
    """
    link = os.environ.pop(_LINK, None)
    if link is None:
        if "PYTHONHASHSEED" in os.environ:
            return "PYTHONHASHSEED is set, which gives all ranks one salt"
        environment = _environment(f"{num_salts} {world_size} {_ORDERS.index(order)} {seed}")
        if environment is None:
            return "there is no folder for temporary files without a space in its path"
        sys.stdout.flush()
        sys.stderr.flush()
        command = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, command, environment)  # noqa: S606 - this very command
    if os.environ.pop(_DESCRIPTION, None) is not None:
        return "this system does not load a library ahead of a program (LD_PRELOAD)"
    if link:
        with contextlib.suppress(OSError):  # another launcher was first
            Path(link).unlink()
            Path(link).parent.rmdir()
    # The launchers have read it; what ranks start has a salt of its own.
    del os.environ["PYTHONHASHSEED"]
    return None


def _environment(description: str) -> dict[str, str] | None:
    """That of the command; None if the library has no path that LD_PRELOAD can have."""
    package = Path(__file__).parents[1]
    library = compiled_for.folder(package, compiled_for.installed_torch()) / "libpolyrank.so"
    path, link = str(library), ""
    if any(separator in path for separator in _SEPARATORS):
        folder = _folder_for_link()
        if folder is None:
            return None
        link = f"{folder}/packages"
        Path(link).symlink_to(package.parent)
        path = f"{link}/{library.relative_to(package.parent)}"
    environment = os.environ | {_DESCRIPTION: description, _LINK: link, "LD_PRELOAD": path}
    before = os.environ.get("LD_PRELOAD")
    if before is not None:
        environment |= {_PRELOADED_BEFORE: before, "LD_PRELOAD": f"{path}:{before}"}
    return environment


def _folder_for_link() -> str | None:
    """A new folder whose path LD_PRELOAD can have; None if there is none."""
    for place in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - mkdtemp's are private
        if not any(separator in place for separator in _SEPARATORS):
            with contextlib.suppress(OSError):
                return tempfile.mkdtemp(prefix="polyrank-", dir=place)
    return None
