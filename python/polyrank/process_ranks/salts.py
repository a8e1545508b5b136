"""Starts a command anew, so that its ranks are forked off launchers with other hashes of strings.

NOTE [Launchers with salts of their own] in salted_launchers.h says how. PyTorch is not imported here: the
command that is started anew imports it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from polyrank import compiled_for

__all__ = ["start_with_salts"]

# As SaltedLauncher has them.
_DESCRIPTION = "POLYRANK_SALTED_LAUNCHERS"
_PRELOADED_BEFORE = "POLYRANK_PRELOADED_BEFORE"
# Says that the command was started anew; a folder of links that is no more needed, or nothing.
_LINKS = "POLYRANK_PRELOADED_BY_LINKS"

_ORDERS = (None, "in_turn", "random")
_SEPARATORS = " :"  # of LD_PRELOAD


def start_with_salts(num_salts: int, world_size: int, order: str | None, seed: int) -> str | None:
    """Start this command anew with as many launchers, and return in each of them.

    Returns: why that can't be, in words, or None.
    """
    links = os.environ.pop(_LINKS, None)
    if links is None:
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
    if links:
        with contextlib.suppress(OSError):  # another launcher was first
            shutil.rmtree(links)
    # The launchers have read it; what ranks start has a salt of its own.
    del os.environ["PYTHONHASHSEED"]
    return None


def _environment(description: str) -> dict[str, str] | None:
    """That of the command; None if the libraries have no paths that LD_PRELOAD can have."""
    package = Path(__file__).parents[1]
    # PyTorch's first, which ours needs and would look for beside itself.
    libraries = [
        Path(str(find_spec("torch").origin)).with_name("lib") / "libtorch_cpu.so",  # type: ignore[union-attr]
        compiled_for.folder(package, compiled_for.installed_torch()) / "libpolyrank.so",
    ]
    links = ""
    if any(separator in str(library) for library in libraries for separator in _SEPARATORS):
        folder = _folder_for_links()
        if folder is None:
            return None
        links = folder
        libraries = [_linked(library, Path(links)) for library in libraries]
    preloaded = ":".join(map(str, libraries))
    environment = os.environ | {_DESCRIPTION: description, _LINKS: links, "LD_PRELOAD": preloaded}
    before = os.environ.get("LD_PRELOAD")
    if before is not None:
        environment |= {_PRELOADED_BEFORE: before, "LD_PRELOAD": f"{preloaded}:{before}"}
    return environment


def _linked(library: Path, links: Path) -> Path:
    """The library by a link to its folder, beside which it finds what it needs."""
    link = links / library.stem
    link.symlink_to(library.parent)
    return link / library.name


def _folder_for_links() -> str | None:
    """A new folder whose path LD_PRELOAD can have; None if there is none."""
    for place in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - mkdtemp's are private
        if not any(separator in place for separator in _SEPARATORS):
            with contextlib.suppress(OSError):
                return tempfile.mkdtemp(prefix="polyrank-", dir=place)
    return None
