"""Whether the files that a process has loaded are still what they were."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

__all__ = ["LoadedFiles"]

_Stamp = tuple[int, int, int]
_MAPPED = re.compile(r"^\S+ r\S+ \S+ \S+ [1-9]\d* +(/.*)$", re.MULTILINE)
_PACKAGE = Path(__file__).parents[1]


class LoadedFiles:
    """Sources and libraries of all modules of this process, and all files of polyrank."""

    def __init__(self) -> None:
        files = {
            file
            for module in tuple(sys.modules.values())
            if isinstance(file := getattr(module, "__file__", None), str)
        }
        files.update(_MAPPED.findall(Path("/proc/self/maps").read_text()))
        files.update(map(str, _PACKAGE.rglob("*.py")))
        self._stamps = {file: stamp for file in files if (stamp := _stamp(file)) is not None}

    def changed(self) -> str | None:
        """One that has changed since; None: none has."""
        return next((file for file, seen in self._stamps.items() if _stamp(file) != seen), None)

    def changed_after(self, seconds_since_start: float) -> str | None:
        """One that was written in these last seconds, so that another one may be loaded."""
        since = (time.time() - seconds_since_start) * 1e9
        return next((file for file, seen in self._stamps.items() if seen[0] > since), None)


def _stamp(file: str) -> _Stamp | None:
    try:
        found = os.stat(file)  # noqa: PTH116 - of thousands of files, in each run
    except OSError:  # in an archive, or gone
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
