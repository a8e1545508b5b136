#!/usr/bin/env python3
"""Makes one wheel of several of one version of polyrank that were built for different torches.

merge_wheels.py FOLDER WHEEL...: all Python files are the first one's; of the others it takes the compiled
parts, which stand in a folder for each torch.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

COMPILED = Path("polyrank") / "compiled"


def run_wheel(*arguments: str | Path) -> None:
    """Call the `wheel` package, which knows the format and writes the hashes anew."""
    subprocess.run([sys.executable, "-m", "wheel", *arguments], check=True, stdout=sys.stderr)


def unpacked(wheel: Path, folder: Path) -> Path:
    """The folder with a wheel's content."""
    folder.mkdir()
    run_wheel("unpack", "--dest", folder, wheel)
    (content,) = folder.iterdir()
    return content


def merge(wheels: list[Path], folder: Path) -> None:
    """Write the wheel of all that `wheels` hold into `folder`.

    Raises:
        SystemExit: they are of different versions, interpreters or platforms, or two are for one torch.
    """
    if len({wheel.name for wheel in wheels}) > 1:
        names = ", ".join(sorted(wheel.name for wheel in wheels))
        raise SystemExit(f"not of one version, interpreter and platform: {names}")
    with tempfile.TemporaryDirectory() as work:
        first, *others = (unpacked(w, Path(work) / str(i)) for i, w in enumerate(wheels))
        for other in others:
            for part in sorted((other / COMPILED).iterdir()):
                if (first / COMPILED / part.name).exists():
                    raise SystemExit(f"two wheels are for {part.name}")
                shutil.copytree(part, first / COMPILED / part.name)
        folder.mkdir(parents=True, exist_ok=True)
        run_wheel("pack", "--dest-dir", folder, first)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("wheels", type=Path, nargs="+")
    given = parser.parse_args()
    merge(given.wheels, given.folder)
