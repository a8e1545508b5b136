#!/usr/bin/env python3
"""Installs a wheel of polyrank into a fresh environment, runs a demo there, and says how long that took.

try_wheel.py WHEEL [--torch 2.14.1]: torch is installed before the clock starts. Fails unless the demo runs,
doctor finds nothing, and a torch that nothing was compiled for is refused in one line.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
import venv
from pathlib import Path

DEMO = Path(__file__).resolve().parents[1] / "examples" / "train_digits.py"
# Without PYTHONPATH, which may name the checkout's package.
VARIABLES = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
# Another torch, for an import: the package's loader reads its version alone.
OTHER_TORCH = "import sys, types; sys.modules['torch'] = types.SimpleNamespace(__version__='1.0'); "


def main() -> None:
    """Try the wheel."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--torch", default="", help="its version; without it pip chooses")
    given = parser.parse_args()
    print(f"{given.wheel.name}: {given.wheel.stat().st_size / 2**20:.1f} MiB")
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "venv"
        venv.create(environment, with_pip=True)
        install = [environment / "bin" / "python", "-m", "pip", "install", "--quiet"]
        run(*install, f"torch=={given.torch}" if given.torch else "torch>=2.13,<2.16")
        try_in(environment, [*install, f"{given.wheel.resolve()}[examples]"])


def try_in(environment: Path, install: list[str | Path]) -> None:
    """Run `install` in the environment, and then what it installed."""
    started, used = time.monotonic(), cpu_seconds()
    run(*install)
    seconds = time.monotonic() - started
    print(f"pip install: {seconds:.1f} s, of the CPU {cpu_seconds() - used:.1f} s")
    polyrank = environment / "bin" / "polyrank"
    first, at = first_line(polyrank, "run", "--world", "lockstep", "--ranks", "64", DEMO)
    print(f"from pip install to the demo's first line: {at - started:.1f} s ({first})")
    print(run(polyrank, "doctor", cwd=environment).splitlines()[-1])
    python = environment / "bin" / "python"
    refused = subprocess.run(
        [python, "-c", OTHER_TORCH + "import polyrank"],
        cwd=environment,
        env=VARIABLES,
        capture_output=True,
        text=True,
        check=False,
    )
    last = refused.stderr.splitlines()[-1]
    if not last.startswith("ImportError: this copy of polyrank is compiled for torch"):
        raise SystemExit(f"another torch is not refused: {refused.stderr}")
    print(last)


def cpu_seconds() -> float:
    """Of all commands so far: on a busy machine they say more than the clock."""
    times = os.times()
    return times.children_user + times.children_system


def first_line(*command: str | Path) -> tuple[str, float]:
    """What the command prints first, and when. It must end well.

    Raises:
        SystemExit: it failed.
    """
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=VARIABLES) as running:
        assert running.stdout is not None  # noqa: S101
        first = next((line for line in running.stdout if line.strip()), "").strip()
        at = time.monotonic()
        running.stdout.read()
    if running.returncode or not first:
        raise SystemExit(f"{command} failed with exit code {running.returncode}")
    return first, at


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """What the command prints; its errors go to ours.

    Raises:
        SystemExit: it failed.
    """
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=False, cwd=cwd, env=VARIABLES
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout}\n{command} failed with exit code {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    main()
