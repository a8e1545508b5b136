"""Clusters: what a forecast must know of the machines, each figure with its source.

A cluster is a TOML file: one of `polyrank/forecast/clusters`, or the user's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyrank.errors import UsageError
from polyrank.forecast.figures import Figure, FigureReader, read_toml

__all__ = ["Cluster", "Figure", "Links", "cluster_names", "find_cluster"]

_FOLDER = Path(__file__).with_name("clusters")
_MIB = 2**20
# Those that NCCL tells apart.
HOST_CPUS = ("intel", "amd", "arm")


@dataclass(frozen=True)
class Links:
    """How GPUs are linked, as NCCL sees it. GB/s (1e9) of one direction; microseconds."""

    gpu_links_gb_s: Figure  # all links of a GPU to the others of its node
    node_channel_gb_s: Figure  # of a channel in the node
    node_channels: Figure
    nvls_channels: Figure  # that run it; 0: there is no NVLS
    network_gb_s: Figure  # of a network card
    network_latency_us: Figure  # beside that of NCCL's tables
    network_cards: Figure | None = None  # of a node; None: one a GPU
    has_nvlink: bool = True  # else GPUs are joined by PCIe
    host_cpu: str = "intel"  # of HOST_CPUS


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
    # GPUs that NVLink joins, where those are several nodes' as in a rack; None: of a node.
    gpus_per_nvlink_domain: int | None = None
    # Needed for times alone.
    gpu_speeds: str | None = None  # the name of a table (speeds.py), or the path of a file
    links: Links | None = None

    @property
    def linked_gpus(self) -> int:
        """Of what NCCL takes for a node."""
        return self.gpus_per_nvlink_domain or self.gpus_per_node

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
    return _cluster_of(file, read_toml(file))


def _cluster_of(file: Path, content: Mapping[str, Any]) -> Cluster:
    reader = FigureReader(content)
    capability = reader.take("compute_capability", list, "a list of two integers")
    if capability is not None and (
        len(capability) != 2 or not all(isinstance(part, int) for part in capability)  # noqa: PLR2004
    ):
        reader.note("compute_capability must be a list of two integers")
    values: dict[str, Any] = {
        "gpu_name": reader.take("gpu_name", str, "a text"),
        "gpus_per_node": reader.count("gpus_per_node"),
        "multiprocessors": reader.count("multiprocessors"),
        **{
            name: reader.figure(name, unit="MiB")
            for name in (
                "memory_mib",
                "context_mib",
                "first_communicator_mib",
                "further_communicator_mib",
            )
        },
    }
    memory, context = values["memory_mib"], values["context_mib"]
    if memory is not None and context is not None and context.value >= memory.value:
        reader.note(
            f"context_mib must be less than memory_mib, which is {memory.value:g}, and is "
            f"{context.value:g}"
        )
    if reader.has("gpus_per_nvlink_domain"):
        values["gpus_per_nvlink_domain"] = _domain(reader, values["gpus_per_node"])
    if reader.has("gpu_speeds"):
        values["gpu_speeds"] = reader.take("gpu_speeds", str, "a text")
    wrong_links: list[str] = []
    if reader.has("links"):
        values["links"], wrong_links = _links_of(reader.take("links", dict, "a table"))
    if wrong := reader.problems("a cluster") + wrong_links:
        raise UsageError(f"{file}: " + "; ".join(wrong))
    return Cluster(name=file.stem, compute_capability=tuple(capability), **values)


def _domain(reader: FigureReader, gpus_per_node: int | None) -> int | None:
    domain = reader.count("gpus_per_nvlink_domain")
    if domain is not None and gpus_per_node and domain % gpus_per_node:
        reader.note(
            f"gpus_per_nvlink_domain must be whole nodes of {gpus_per_node}, and is {domain}"
        )
    return domain


def _links_of(content: Mapping[str, Any] | None) -> tuple[Links | None, list[str]]:
    """The links, or what is wrong with them."""
    reader = FigureReader(content or {})
    has_nvlink = (
        reader.take("has_nvlink", bool, "true or false") if reader.has("has_nvlink") else True
    )
    host_cpu = reader.take("host_cpu", str, "a text") if reader.has("host_cpu") else HOST_CPUS[0]
    if host_cpu is not None and host_cpu not in HOST_CPUS:
        reader.note(f"host_cpu must be one of {', '.join(HOST_CPUS)}, and is {host_cpu!r}")
    counts = ["node_channels", *(["network_cards"] if reader.has("network_cards") else [])]
    figures = reader.figures(("gpu_links_gb_s", "node_channel_gb_s", "network_gb_s"))
    figures |= reader.figures(["network_latency_us"], is_positive=False)
    figures |= reader.figures(counts, is_whole=True)
    figures |= reader.figures(["nvls_channels"], is_whole=True, is_positive=False)
    wrong = [f"links: {problem}" for problem in reader.problems("links")]
    return (
        (None, wrong) if wrong else (Links(**figures, has_nvlink=has_nvlink, host_cpu=host_cpu), [])
    )
