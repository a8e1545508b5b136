"""How fast: what a cluster's GPUs, CPUs and links do in a second, each figure with its source.

TOML files of `polyrank/forecast/speeds`: `gpus` has one for each kind of GPU, `nccl.toml` NCCL's tables,
`host.toml` what the CPU takes. A cluster names its GPUs' file, or has one of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyrank import _C
from polyrank.errors import UsageError
from polyrank.forecast.clusters import Cluster, Links
from polyrank.forecast.figures import Figure, FigureReader, read_toml

__all__ = [
    "MATHS",
    "Compared",
    "GpuTable",
    "compared",
    "core_speeds",
    "find_table",
    "gpu_speeds",
    "gpu_table",
    "gpu_table_names",
    "nccl_tables",
]

_FOLDER = Path(__file__).with_name("speeds")
_GIGA = 1e9
_TERA = 1e12
_NANOSECONDS = 1e3  # a microsecond's

# In the order of the core's MathType.
MATHS = ("fp64", "fp32", "tf32", "half", "fp8")
_ALGORITHMS = ("tree", "ring", "nvls", "nvls_tree")
_PROTOCOLS = ("ll", "ll128", "simple")
_GENERATIONS = ("ampere", "hopper", "blackwell")
# In the order of the core's MemoryAccess.
_ACCESSES = ("memory_efficiency", "unvectorized_efficiency", "concatenation_efficiency")
_OPTIONAL = ("peak_fp8_tflops", "fp8_matmul_efficiency", *_ACCESSES[1:])
_CASES = {  # of attention: is it causal, is it backward
    "forward": (False, False),
    "causal_forward": (True, False),
    "backward": (False, True),
    "causal_backward": (True, True),
}
_FLASH, _CUDNN, _EFFICIENT = range(3)  # the core's AttentionKernel


@dataclass(frozen=True)
class Compared:
    """How far off forecasts were of runs that were measured on such a GPU, and by which nothing was set."""

    rows: int
    mean: float  # of the errors' sizes, relative
    most: float

    def sentence(self, what: str) -> str:
        return (
            f"{what} of {self.rows} measured runs on this GPU, by which nothing was set, was forecast "
            f"{self.mean:.0%} off in the mean, {self.most:.0%} at most."
        )


@dataclass(frozen=True)
class GpuTable:
    """What one kind of GPU does; the names of figures end in their unit."""

    name: str
    generation: str  # of NCCL's tables
    figures: dict[str, Figure]
    tiles: list[tuple[int, int]]
    tiles_source: str

    def value(self, name: str, otherwise: str | None = None) -> float:
        """That figure, or another one if the table has it not."""
        if name not in self.figures and otherwise is not None:
            name = otherwise
        return self.figures[name].value

    @property
    def peak_flops(self) -> float:
        """Of half precision, dense, a second: what MFU is a share of."""
        return self.value("peak_half_tflops") * _TERA

    @property
    def compared(self) -> Compared | None:
        """Of times; None: no measured run was forecast with this table."""
        return compared("time", self.name)


def compared(what: str, table: str | None) -> Compared | None:
    """Of "time" or "memory" on GPUs of that table; None: no measured run was forecast."""
    known = read_toml(_FOLDER / "compared.toml").get(table or "", {}).get(what)
    return None if known is None else Compared(**known)


def gpu_table_names() -> list[str]:
    """Names of the tables that come with the package."""
    return sorted(file.stem for file in (_FOLDER / "gpus").glob("*.toml"))


def gpu_table(cluster: Cluster) -> GpuTable:
    """The table that the cluster names.

    Raises:
        UsageError: it names none, or its file is wrong.
    """
    return _time_figures(cluster)[0]


def _time_figures(cluster: Cluster) -> tuple[GpuTable, Links]:
    if cluster.gpu_speeds is None or cluster.links is None:
        raise UsageError(
            f"cluster {cluster.name} has no figures for times: its file needs gpu_speeds and [links] "
            "(docs/forecast.md)"
        )
    return find_table(cluster.gpu_speeds), cluster.links


def find_table(name_or_path: str) -> GpuTable:
    """The table of that name, or of that file.

    Raises:
        UsageError: there is none, or its file is wrong.
    """
    own = _FOLDER / "gpus" / f"{name_or_path}.toml"
    file = own if own.is_file() else Path(name_or_path)
    if not file.is_file():
        raise UsageError(
            f"there is no table {name_or_path!r} of a GPU's speeds; there are "
            f"{', '.join(gpu_table_names())}, or a file of your own"
        )
    return _read_table(file)


def _read_table(file: Path) -> GpuTable:
    reader = FigureReader(read_toml(file))
    generation = reader.take("generation", str, "a text")
    if generation is not None and generation not in _GENERATIONS:
        reader.note(f"generation must be one of {', '.join(_GENERATIONS)}, and is {generation!r}")
    kernels = ["flash", *(["cudnn"] if reader.has("cudnn_forward_tflops") else [])]
    names = [
        *(f"peak_{math}_tflops" for math in MATHS if math != "fp8"),
        *(name for name in _OPTIONAL if reader.has(name)),
        *("matmul_efficiency", "tile_overhead_k", "memory_gb_s", "memory_efficiency"),
        *("host_copy_gb_s", "kernel_us", "efficient_share_of_flash"),
        *(
            f"{kernel}_{case}_{what}"
            for kernel in kernels
            for case in _CASES
            for what in ("tflops", "half_sequence")
        ),
    ]
    figures = reader.figures(names)
    tiles = reader.sourced("tiles")
    if tiles is not None and not _are_tiles(tiles[0]):
        reader.note("tiles.value must be a list of pairs of positive integers")
    if wrong := reader.problems("a table of speeds"):
        raise UsageError(f"{file}: " + "; ".join(wrong))
    pairs, source = tiles or ([], "")
    return GpuTable(file.stem, generation, figures, [tuple(tile) for tile in pairs], source)


def _are_tiles(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(tile, list)
            and len(tile) == 2  # noqa: PLR2004
            and all(isinstance(side, int) and side > 0 for side in tile)
            for tile in value
        )
    )


def core_speeds(cluster: Cluster) -> _C.ClusterSpeeds:
    """All figures of the cluster, as the core takes them.

    Raises:
        UsageError: the cluster has no figures for times.
    """
    table, links = _time_figures(cluster)
    host = read_toml(_FOLDER / "host.toml")
    speeds = _C.ClusterSpeeds()
    speeds.gpu = gpu_speeds(table, cluster.multiprocessors)
    speeds.nccl = nccl_tables(cluster, links.host_cpu)
    speeds.links = _links(links, cluster)
    speeds.operator_time = round(host["operator_us"]["value"] * _NANOSECONDS)
    speeds.view_time = round(host["view_us"]["value"] * _NANOSECONDS)
    speeds.collective_time = round(host["collective_us"]["value"] * _NANOSECONDS)
    return speeds


def gpu_speeds(table: GpuTable, multiprocessors: int) -> _C.GpuSpeeds:
    """The table as the core takes it."""
    speeds = _C.GpuSpeeds()
    speeds.multiprocessors = multiprocessors
    # A GPU without matrix units for a type runs it as half precision.
    speeds.peak_flops = [
        table.value(f"peak_{math}_tflops", otherwise="peak_half_tflops") * _TERA for math in MATHS
    ]
    speeds.matmul_efficiency = [
        table.value(f"{math}_matmul_efficiency", otherwise="matmul_efficiency") for math in MATHS
    ]
    speeds.tiles = table.tiles
    speeds.tile_overhead_k = table.value("tile_overhead_k")
    speeds.memory_bytes = table.value("memory_gb_s") * _GIGA
    speeds.memory_efficiency = [
        table.value(access, otherwise="memory_efficiency") for access in _ACCESSES
    ]
    speeds.host_copy_bytes = table.value("host_copy_gb_s") * _GIGA
    speeds.kernel_ns = table.value("kernel_us") * _NANOSECONDS
    for case, (is_causal, is_backward) in _CASES.items():
        half = table.value(f"flash_{case}_half_sequence")
        flash = table.value(f"flash_{case}_tflops") * _TERA
        efficient = flash * table.value("efficient_share_of_flash")
        cudnn = table.value(f"cudnn_{case}_tflops", otherwise=f"flash_{case}_tflops") * _TERA
        cudnn_half = table.value(
            f"cudnn_{case}_half_sequence", otherwise=f"flash_{case}_half_sequence"
        )
        speeds.set_attention(_FLASH, is_causal, is_backward, flash, half)
        speeds.set_attention(_EFFICIENT, is_causal, is_backward, efficient, half)
        speeds.set_attention(_CUDNN, is_causal, is_backward, cudnn, cudnn_half)
    return speeds


def nccl_tables(cluster: Cluster, host_cpu: str) -> _C.NcclTables:
    """NCCL's tables for the cluster's GPUs, and for hosts with CPUs of that maker."""
    generation = gpu_table(cluster).generation
    content = read_toml(_FOLDER / "nccl.toml")
    tables = _C.NcclTables()
    latency = content["latency"]
    for name in ("base", "nvlink", "pcie", "network"):
        rows = [latency[name][algorithm] for algorithm in _ALGORITHMS]
        setattr(tables, f"{name}_latency", rows)
    tables.ring_plateau = latency["ring_plateau"]
    tables.channel_copies = content["use"]["channel_copies"]["value"]
    tables.memory_passes = content["use"]["memory_passes"]["value"]
    correction = [content["tree_correction"][protocol] for protocol in _PROTOCOLS]
    tables.tree_correction = [list(row) for row in zip(*correction, strict=True)]
    figures = content["channels"] | content[generation]
    host = content["hosts"][host_cpu]
    figures["most_ll"] = [figures["most_ll"], *host["most_ll"]]
    figures["network_overhead"] = host["network_overhead"]
    figures["corrects_nvls_tree"] = figures["corrects_nvls_tree"] and host_cpu != "arm"
    for name, value in figures.items():
        setattr(tables, name, value)
    return tables


def _links(links: Links, cluster: Cluster) -> _C.NcclLinks:
    made = _C.NcclLinks()
    made.has_nvlink = links.has_nvlink
    made.gpu_links = links.gpu_links_gb_s.value
    made.node_channel = links.node_channel_gb_s.value
    made.node_channels = links.node_channels.value
    made.nvls_channels = links.nvls_channels.value
    made.network = links.network_gb_s.value
    made.network_latency = links.network_latency_us.value
    # Of what NCCL takes for a node, which may be a rack of several.
    cards = cluster.gpus_per_node if links.network_cards is None else links.network_cards.value
    made.network_cards = cards * cluster.linked_gpus / cluster.gpus_per_node
    made.gpus_per_node = cluster.linked_gpus
    return made
