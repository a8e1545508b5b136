"""Pages whose code runs: files by their titles, commands with what they print.

```python title="first.py"      is written to first.py
```console                      `$ command` is run; each line below it must be in what it prints, and `…` is any
                                line more. Where there is none, it must end well.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

__all__ = ["blocks_of", "faults_of"]

_BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SECONDS = 200


def blocks_of(page: Path) -> list[tuple[str, str, str]]:
    """Language, title and text of each."""
    return _BLOCK.findall(page.read_text())


def faults_of(page: Path, folder: Path, python: str = sys.executable) -> list[str]:
    """Run a page in a folder, with that Python; what its commands print otherwise than it says."""
    found = []
    for language, title, text in blocks_of(page):
        if title:
            (folder / title).write_text(text)
        elif language == "console":
            for command, expected in _commands(text):
                found += _faults(command, expected, folder, python)
    return found


def _commands(text: str) -> list[tuple[str, list[str]]]:
    commands: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], []))
        else:
            commands[-1][1].append(line)
    return commands


def _faults(command: str, expected: list[str], folder: Path, python: str) -> list[str]:
    path = f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    printed = done.stdout.splitlines()
    found = [f"prints no line {line!r}" for line in expected if line not in [*printed, "", "…"]]
    if "…" in expected and len(printed) < len([line for line in expected if line]):
        found.append("prints no line more")
    if not expected and done.returncode:
        found.append(f"ends with {done.returncode}")
    said = f"{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
    return [f"$ {command}\n{fault}:\n{said}" for fault in found]
