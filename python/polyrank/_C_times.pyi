# What `_C` has of the times of GPUs without bytes.
from typing import Any

MOST_QUEUED_LAUNCHES: int

class GpuSpeeds:
    def __init__(self) -> None: ...
    multiprocessors: int
    peak_flops: list[float]
    matmul_efficiency: list[float]
    tiles: list[tuple[int, int]]
    tile_overhead_k: float
    memory_bytes: float
    memory_efficiency: list[float]
    host_copy_bytes: float
    kernel_ns: float
    def set_attention(
        self, kernel: int, is_causal: bool, is_backward: bool, flops: float, half_sequence: float
    ) -> None: ...

class NcclTables:
    def __init__(self) -> None: ...
    base_latency: list[list[float]]
    nvlink_latency: list[list[float]]
    pcie_latency: list[list[float]]
    network_latency: list[list[float]]
    most_ll: list[float]
    most_ring_ll128: list[float]
    most_tree: list[float]
    most_tree_ll128: list[float]
    most_nvls_tree: list[float]
    nvls_efficiency: float
    node_speeds: list[float]
    network_speeds: list[float]
    most_nvls_heads: float
    one_way_tree_efficiency: float
    trees_have_one_way: bool
    corrects_nvls_tree: bool
    tree_correction: list[list[float]]
    network_overhead: float
    ring_plateau: float
    channel_copies: float
    memory_passes: float

class NcclLinks:
    def __init__(self) -> None: ...
    has_nvlink: bool
    gpu_links: float
    node_channel: float
    node_channels: float
    nvls_channels: float
    network: float
    network_latency: float
    network_cards: float
    gpus_per_node: float

class ClusterSpeeds:
    def __init__(self) -> None: ...
    gpu: GpuSpeeds
    nccl: NcclTables
    links: NcclLinks
    operator_time: int
    view_time: int
    collective_time: int

class GpuTimeline:
    def __init__(self, speeds: ClusterSpeeds) -> None: ...
    def end_step(self) -> None: ...
    def step_reports(self) -> list[dict[str, Any]]: ...
    def whole_report(self) -> dict[str, Any]: ...
    def recording(self, rank: int) -> dict[str, Any]: ...
    def chrome_trace(self, rank: int) -> str: ...

class JointReplay:
    def __init__(self, recordings: list[dict[str, Any]], slow: dict[int, float] = ...) -> None: ...
    ranks: list[int]
    def step_reports(self, index: int) -> list[dict[str, Any]]: ...
    def whole_report(self, index: int) -> dict[str, Any]: ...
    def step_ends(self, index: int) -> list[int]: ...
    def chrome_trace(self) -> str: ...

def matmul_time(gpu: GpuSpeeds, m: int, n: int, k: int, math: int) -> int: ...
def collective_time(
    speeds: ClusterSpeeds, kind: str, ranks: int, nodes: int, bytes: float
) -> tuple[str, float]: ...
def compared_times(
    speeds: ClusterSpeeds, kind: str, ranks: int, nodes: int, bytes: float
) -> dict[str, float]: ...
def keep_gpu_timeline(timeline: GpuTimeline | None) -> None: ...
