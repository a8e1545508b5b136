"""Measurements that need a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import cast

_PROBES = Path(__file__).parent / "probes"


class ProbeError(Exception):
    """The probe failed; the message is the last line that it wrote."""


def run_probe(name: str, *arguments: str) -> float:
    """Run probes/NAME.py on one thread and return the number that it prints."""
    path = [str(_PROBES.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path)}
    result = subprocess.run(
        [sys.executable, str(_PROBES / f"{name}.py"), *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
        raise ProbeError(lines[-1])
    return cast("float", json.loads(result.stdout.strip().splitlines()[-1]))
