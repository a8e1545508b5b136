"""What `polyrank doctor` found: as text, and as a document for other programs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polyrank.divergence.report import rows
from polyrank.doctor.machine import SHARED_MEMORY

if TYPE_CHECKING:
    from polyrank.doctor.machine import Machine
    from polyrank.doctor.self_tests import SelfTest
    from polyrank.doctor.torch_build import TorchBuild
    from polyrank.doctor.versions import Versions

__all__ = ["Diagnosis"]

# Raised when a field changes its meaning or goes; a field that is only added leaves it.
SCHEMA_VERSION = 1
_GIB = 2**30
_EXIT_PROBLEM = 1
_NAMES_SHOWN = 2


@dataclass(frozen=True)
class Diagnosis:
    """All of it."""

    versions: Versions
    machine: Machine
    torch: TorchBuild | None  # None: it does not load, or there is no compiled part for it
    self_tests: list[SelfTest]  # none where they were not asked for, or nothing loads
    why_nothing_loads: str | None = None

    @property
    def problems(self) -> list[str]:
        """What is wrong, a sentence each."""
        told = [] if self.why_nothing_loads is None else [self.why_nothing_loads]
        told += self.machine.problems()
        told += [] if self.torch is None else self.torch.problems()
        failed = [test.world for test in self.self_tests if not test.passed]
        return told + [f"the self-test failed in the world {world}" for world in failed]

    @property
    def exit_code(self) -> int:
        """Of the command: 0, or 1 if something is wrong."""
        return _EXIT_PROBLEM if self.problems else 0

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        fields = dataclasses.asdict(self)
        del fields["why_nothing_loads"]  # one of the problems
        return {
            "schema_version": SCHEMA_VERSION,
            **fields,
            "problems": self.problems,
            "exit_code": self.exit_code,
        }

    def text(self) -> str:
        """All of it, as lines, what is wrong last."""
        parts = [
            "Versions",
            *rows(self._version_rows()),
            "Machine",
            *rows(self._machine_rows()),
        ]
        if self.torch is not None:
            parts += ["This torch", *rows(_torch_rows(self.torch))]
        if self.self_tests:
            parts += ["Self-test, exact values", *rows(_test_rows(self.self_tests))]
        parts += [f"\n{test.world}: {test.message}" for test in self.self_tests if not test.passed]
        problems = [f"problem: {problem}" for problem in self.problems]
        return "\n".join([*parts, "", *(problems or ["all is well"])]) + "\n"

    def _version_rows(self) -> list[tuple[str, str]]:
        found = self.versions
        return [
            ("Python", found.python),
            ("torch", found.torch),
            ("polyrank", found.polyrank),
            (
                "compiled part",
                f"{found.compiled_part}; there are for torch {', '.join(found.compiled_for) or 'none'}",
            ),
        ]

    def _machine_rows(self) -> list[tuple[str, str]]:
        found = self.machine
        shared = "none"
        if found.shared_memory is not None:
            shared = f"{_gib(found.shared_memory_free)} free of {_gib(found.shared_memory)}"
        at_most = _limit(found.open_files_at_most)
        return [
            ("system", found.system),
            ("cores", f"{found.cores} of {found.cores_there}"),
            ("memory", f"{_gib(found.memory_free)} free of {_gib(found.memory)}"),
            (SHARED_MEMORY, shared),
            ("open files", f"{_limit(found.open_files)}, which may be raised to {at_most}"),
            ("processes", f"{_limit(found.processes)} of this user"),
            ("ranks as processes", f"room for {found.ranks_as_processes:,}, by free memory"),
        ]


def _torch_rows(found: TorchBuild) -> list[tuple[str, str]]:
    virtual = "yes" if found.has_virtual_gpus else "no: this is a build for GPUs"
    return [
        ("built for", ", ".join(found.devices)),
        ("GPUs", str(found.gpus)),
        ("virtual GPUs", virtual),
        ("backends", ", ".join(found.backends) or "none"),
        ("operators it lacks", _some(found.operators_lacking)),
        ("names it lacks", _some(found.names_lacking)),
    ]


def _test_rows(tests: list[SelfTest]) -> list[tuple[str, str]]:
    return [
        (
            test.world,
            f"{'passed' if test.passed else 'FAILED'}  {test.ranks} ranks  {test.seconds:.1f} s",
        )
        for test in tests
    ]


def _some(names: list[str]) -> str:
    if not names:
        return "none"
    shown = ", ".join(names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more:,} more (--json has all)" if more > 0 else shown


def _gib(size: int | None) -> str:
    return f"{(size or 0) / _GIB:,.1f} GiB"


def _limit(number: int | None) -> str:
    return "no limit" if number is None else f"{number:,}"
