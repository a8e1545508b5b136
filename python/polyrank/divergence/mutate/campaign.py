"""Runs a command once for each mutant of the collectives that it launches."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polyrank.divergence.mutate.command import Command, Ended
from polyrank.divergence.mutate.mutants import Mutant, mutants_of, recording, sites_in
from polyrank.divergence.mutate.report import SCHEMA_VERSION, CheckedMutants, Result
from polyrank.errors import UsageError
from polyrank.output.resumable import read_kept, run_parts

__all__ = ["Campaign", "Limits"]

# How long a mutant may take: so many times the command without one, and so many seconds.
_TIMES, _SECONDS = 5.0, 10.0
_NOT_SOURCES = frozenset({"site-packages", "node_modules", "build", "dist", "__pycache__"})


@dataclass(frozen=True)
class Limits:
    """How much of it is done now."""

    mutants: int | None = None  # so many are run
    seconds: float | None = None  # after these none is started
    timeout_seconds: float | None = None  # of one; None: by the time without a mutation
    jobs: int = 1  # at once


@dataclass(frozen=True)
class Campaign:
    """The command, and what is known of its mutants from earlier."""

    command: Command
    shown: str  # how people call it
    file: Path | None = None  # where results are kept
    limits: Limits = field(default_factory=Limits)

    def identity(self) -> dict[str, Any]:
        """What results that are kept must be of."""
        return {"command": list(self.command.arguments), "folder": str(Path.cwd())}

    def run(
        self,
        started: Callable[[int, int], None] = lambda total, known: None,
        finished: Callable[[CheckedMutants], None] = lambda checked: None,
    ) -> CheckedMutants:
        """Run the command without a mutation, then each mutant that is not known.

        Args:
            started: told how many mutants are to be known in the end, and how many are.
            finished: told after each.

        Raises:
            UsageError: the file holds results of something else, or there is no such command.
        """
        kept = self._kept()
        with tempfile.TemporaryDirectory(prefix="polyrank-") as folder:
            log = Path(folder) / "collectives"
            try:
                ended = self.command.run(recording(log))
            except OSError as error:
                raise UsageError(
                    f"{self.command.arguments[0]!r} can't be run: {error.strerror or error}"
                ) from error
            sites = sites_in(log)
        checked = CheckedMutants(self.shown, self.identity(), ended)
        if ended.exit_code:
            return checked
        checked.fingerprint = _fingerprint({site.file for site in sites})
        checked.mutants = mutants_of(sites)
        checked.results = [
            result
            for mutant in checked.mutants
            if (result := Result.kept(mutant, kept, checked.fingerprint)) is not None
        ]
        known = {result.mutant for result in checked.results}
        left = [mutant for mutant in checked.mutants if mutant not in known]
        left = left[: self.limits.mutants]
        started(len(known) + len(left), len(known))
        self._run_all(left, checked, finished)
        return checked

    def _kept(self) -> list[dict[str, Any]]:
        if self.file is None:
            return []
        return read_kept(self.file, "campaign", self.identity(), SCHEMA_VERSION)

    def _run_all(
        self,
        mutants: Iterable[Mutant],
        checked: CheckedMutants,
        finished: Callable[[CheckedMutants], None],
    ) -> None:
        begun = time.monotonic()
        timeout = self.limits.timeout_seconds
        if timeout is None:
            timeout = _TIMES * checked.ended.seconds + _SECONDS

        def run(mutant: Mutant) -> Result | None:
            seconds = self.limits.seconds
            if seconds is not None and time.monotonic() - begun > seconds:
                return None
            return self._run_one(mutant, timeout, checked.fingerprint)

        def note(result: Result | None) -> None:
            if result is not None:
                checked.results.append(result)
                finished(checked)

        run_parts(mutants, run, note, jobs=self.limits.jobs)

    def _run_one(self, mutant: Mutant, timeout: float, fingerprint: str) -> Result:
        with tempfile.TemporaryDirectory(prefix="polyrank-") as folder:
            log = Path(folder) / "reached"
            ended = self.command.run(mutant.environment(log), timeout)
            return Result(mutant, _status(ended, log), ended.last_line, ended.seconds, fingerprint)


def _status(ended: Ended, log: Path) -> str:
    if ended.exit_code is None:
        return "timed out"
    if not log.exists():
        return "not reached"
    return "killed" if ended.exit_code else "survived"


def _fingerprint(files: Iterable[str]) -> str:
    """Of the Python files below the working folder, and of these: what decides over results."""
    every = {Path(file) for file in files if file}
    for folder, folders, names in os.walk(Path.cwd()):
        folders[:] = [n for n in folders if n not in _NOT_SOURCES and not n.startswith(".")]
        every |= {Path(folder, name) for name in names if name.endswith(".py")}
    digest = hashlib.sha256()
    for file in sorted(every):
        if file.is_file():
            digest.update(f"{file}\0".encode(errors="replace"))
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
