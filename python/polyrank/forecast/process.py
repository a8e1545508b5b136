"""Forecasts in processes of their own, so that none sees what another left behind."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyrank import exit_codes

__all__ = ["Ended", "run_forecast"]


@dataclass(frozen=True)
class Ended:
    """What a forecast left."""

    exit_code: int
    document: dict[str, Any] | None  # of --json; None: it wrote none
    recording: dict[str, Any] | None  # of its timeline, where one was asked for
    told: str  # on its standard error

    @property
    def failure(self) -> str:
        """The last line of its error; empty: the script ran, or did not fit."""
        if self.document is not None and self.exit_code in (0, exit_codes.DOES_NOT_FIT):
            return ""
        lines = self.told.strip().splitlines() or [f"exit code {self.exit_code}"]
        return lines[-1]


def run_forecast(options: Sequence[str], program: Sequence[str], *, records: bool = False) -> Ended:
    """Run `polyrank forecast OPTIONS PROGRAM`; `records` needs times among the options."""
    with tempfile.TemporaryDirectory() as folder:
        report, recording = Path(folder) / "report.json", Path(folder) / "recording.json"
        files = ["--json", str(report), *(["--recording", str(recording)] if records else [])]
        done = subprocess.run(  # noqa: S603  this Python, and the caller's script
            [sys.executable, "-m", "polyrank", "forecast", *options, *files, *program],
            capture_output=True,
            text=True,
            check=False,
        )
        return Ended(done.returncode, _read(report), _read(recording), done.stderr)


def _read(file: Path) -> dict[str, Any] | None:
    return dict(json.loads(file.read_text())) if file.is_file() else None
