"""Where a command looks for modules, and whether its server would have found the same ones there."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence

__all__ = ["TriedModules", "first_difference", "search_path"]

# The interpreter looks for these before anything can be noted.
_TRIED_AT_START = ("sitecustomize", "usercustomize")
# What describes installed distributions, which are read by all who ask for versions and entry points.
_METADATA = (".dist-info", ".egg-info", ".egg-link", ".egg")


def search_path() -> list[str]:
    """`sys.path` of this process, without the command's own folder."""
    return sys.path[0 if sys.flags.safe_path else 1 :]


class TriedModules:
    """Notes which modules and packages something looks for, found or not, from now until stop()."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        sys.meta_path.insert(0, self)

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """As the import system asks a finder; it never finds one."""
        self._names.add(_top_level(name))

    def stop(self) -> frozenset[str]:
        """Note no more; the names, without those of modules in packages."""
        sys.meta_path.remove(self)
        return frozenset({*self._names, *map(_top_level, sys.modules), *_TRIED_AT_START})


def first_difference(
    own: Sequence[str], wanted: Sequence[str], tried: Collection[str]
) -> str | None:
    """Why who looks there does not have a server's modules, in words; None: it has.

    Further folders (PYTHONPATH names them) are no reason as long as they have none of those
    modules, nor what was looked for in vain: `sys.path` itself is the command's.

    Args:
        own: Where the server has looked.
        wanted: Where the command looks.
        tried: What the server has looked for.
    """
    if [folder for folder in wanted if folder in own] != list(own):
        return "sys.path lacks a folder of the server's, or has them in another order"
    for folder in wanted:
        if folder not in own and (reason := _what_it_shadows(folder, tried)) is not None:
            return f"sys.path has {folder}, {reason}"
    return None


def _what_it_shadows(folder: str, tried: Collection[str]) -> str | None:
    try:
        names = os.listdir(folder)  # noqa: PTH208 - it takes half the time
    except FileNotFoundError:
        return None
    except OSError:
        return "which is no folder that can be read"
    for name in sorted(names):
        if name.endswith(_METADATA):
            return f"with {name}: what is installed may be another version"
        if _top_level(name) in tried:
            return f"with {name}: the server may have another module of that name"
    return None


def _top_level(name: str) -> str:
    """Of a module's full name, or of a file's that would be one."""
    return name.partition(".")[0]
