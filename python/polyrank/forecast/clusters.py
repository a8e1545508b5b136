"""Clusters: what a forecast must know of the machines, each figure with its source.

A cluster is a TOML file: one of `polyrank/forecast/clusters`, or the user's own.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyrank.errors import UsageError

__all__ = ["Cluster", "Figure", "cluster_names", "find_cluster"]

_FOLDER = Path(__file__).with_name("clusters")
_MIB = 2**20


@dataclass(frozen=True)
class Figure:
    """A number, and where it is from."""

    value: float
    source: str


@dataclass(frozen=True)
class Cluster:
    """Machines of one kind. Memory is in MiB, as the files have it."""

    name: str
    gpu_name: str
    gpus_per_node: int
    compute_capability: tuple[int, int]
    multiprocessors: int
    memory_mib: Figure  # as CUDA tells it: `torch.cuda.get_device_properties().total_memory`
    context_mib: Figure  # of a process that has loaded PyTorch's kernels
    first_communicator_mib: Figure  # of NCCL
    further_communicator_mib: Figure

    @property
    def memory_bytes(self) -> int:
        return int(self.memory_mib.value * _MIB)

    @property
    def context_bytes(self) -> int:
        return int(self.context_mib.value * _MIB)

    def communicator_bytes(self, count: int) -> int:
        """What NCCL takes for so many communicators."""
        if count == 0:
            return 0
        further = self.further_communicator_mib.value * (count - 1)
        return int((self.first_communicator_mib.value + further) * _MIB)


def cluster_names() -> list[str]:
    """Names of the clusters that come with the package."""
    return sorted(file.stem for file in _FOLDER.glob("*.toml"))


def find_cluster(name_or_path: str) -> Cluster:
    """The cluster of that name, or of that file.

    Raises:
        UsageError: there is none, or its file is wrong; every field that is wrong is told.
    """
    own = _FOLDER / f"{name_or_path}.toml"
    file = own if own.is_file() else Path(name_or_path)
    if not file.is_file():
        raise UsageError(
            f"there is no cluster {name_or_path!r}; there are {', '.join(cluster_names())}, or a file of "
            "your own"
        )
    try:
        with file.open("rb") as opened:
            content = tomllib.load(opened)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file}: {error}") from error
    return _Reader(file, content).cluster()


class _Reader:
    """Reads one file, and collects what is wrong with it."""

    def __init__(self, file: Path, content: Mapping[str, Any]) -> None:
        self._file = file
        self._left = dict(content)
        self._wrong: list[str] = []

    def cluster(self) -> Cluster:
        capability = self._take("compute_capability", list, "a list of two integers")
        if capability is not None and (
            len(capability) != 2 or not all(isinstance(part, int) for part in capability)  # noqa: PLR2004
        ):
            self._wrong.append("compute_capability must be a list of two integers")
        values: dict[str, Any] = {
            "gpu_name": self._take("gpu_name", str, "a text"),
            "gpus_per_node": self._count("gpus_per_node"),
            "multiprocessors": self._count("multiprocessors"),
            **{
                name: self._figure(name)
                for name in (
                    "memory_mib",
                    "context_mib",
                    "first_communicator_mib",
                    "further_communicator_mib",
                )
            },
        }
        self._wrong += [f"{name} is no field of a cluster" for name in self._left]
        if self._wrong:
            raise UsageError(f"{self._file}: " + "; ".join(self._wrong))
        return Cluster(name=self._file.stem, compute_capability=tuple(capability), **values)

    def _take(self, name: str, kind: type, what: str) -> Any:
        if name not in self._left:
            self._wrong.append(f"{name} is missing")
            return None
        value = self._left.pop(name)
        if not isinstance(value, kind):
            self._wrong.append(f"{name} must be {what}, and is {value!r}")
            return None
        return value

    def _count(self, name: str) -> int | None:
        value = self._take(name, int, "a whole number")
        if value is not None and value < 1:
            self._wrong.append(f"{name} must be positive, and is {value}")
        return None if value is None else int(value)

    def _figure(self, name: str) -> Figure | None:
        table = self._take(name, dict, "a table { value = …, source = … }")
        if table is None:
            return None
        value, source = table.get("value"), table.get("source")
        if set(table) != {"value", "source"} or not isinstance(source, str) or not source:
            self._wrong.append(f"{name} must have a value and a source, and nothing else")
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            self._wrong.append(f"{name}.value must be a number of MiB, and is {value!r}")
            return None
        return Figure(float(value), source)
