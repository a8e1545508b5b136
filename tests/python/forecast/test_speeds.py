"""Tables of speeds: ours are whole and say what was published; what is wrong is told."""

from __future__ import annotations

import statistics
from pathlib import Path

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import _C
from polyrank.errors import UsageError
from polyrank.forecast import speeds
from polyrank.forecast.clusters import cluster_names, find_cluster
from polyrank.forecast.figures import Figure
from polyrank.forecast.speeds import core_speeds, gpu_table, gpu_table_names

HALF, FP8 = 3, 4  # the core's MathType


def test_all_clusters_have_times() -> None:
    assert {find_cluster(name).gpu_speeds for name in cluster_names()} == set(gpu_table_names())


@pytest.mark.parametrize("name", cluster_names())
def test_each_figure_has_a_source(name: str) -> None:
    cluster = find_cluster(name)
    table = gpu_table(cluster)
    assert all(figure.source for figure in table.figures.values())
    links = [value for value in vars(cluster.links).values() if isinstance(value, Figure)]
    assert links and all(figure.source for figure in links)
    assert core_speeds(cluster).gpu.multiprocessors == cluster.multiprocessors


@pytest.mark.parametrize(
    ("cluster", "math", "shape", "tflops"),
    [
        # The best of each GPU, of ml-engineering's table.
        ("dgx-h100", HALF, (2048, 2048, 13312), 794.5),
        ("dgx-a100-80", HALF, (1024, 10240, 5120), 271.2),
        ("dgx-b200", HALF, (1792, 16128, 3072), 1745.0),
        ("dgx-h100", FP8, (1024, 9216, 14336), 1402.6),
        ("dgx-b200", FP8, (15360, 4096, 3072), 3432.5),
    ],
)
def test_the_best_matmuls_are_as_fast_as_was_measured(
    cluster: str, math: int, shape: tuple[int, int, int], tflops: float
) -> None:
    m, n, k = shape
    gpu = core_speeds(find_cluster(cluster)).gpu
    nanoseconds = _C.matmul_time(gpu, m, n, k, math) - gpu.kernel_ns
    assert 2 * m * n * k / nanoseconds / 1e3 == pytest.approx(tflops, rel=0.01)


def test_matmuls_of_the_500_w_part_are_as_fast_as_was_measured() -> None:
    """On average over sizes (pytorch/ao pull request 940)."""
    milliseconds = {2048: 0.028, 4096: 0.210, 8192: 1.671, 16384: 15.03, 32768: 103.24}
    gpu = core_speeds(find_cluster("grand-teton-h100-96")).gpu
    ratios = [
        _C.matmul_time(gpu, size, size, size, HALF) * 1e-6 / measured
        for size, measured in milliseconds.items()
    ]
    assert statistics.geometric_mean(ratios) == pytest.approx(1, rel=0.01)
    assert all(0.85 < ratio < 1.1 for ratio in ratios)


def test_a_cluster_without_figures_is_told_so(cluster_without_times: str) -> None:
    with pytest.raises(
        UsageError, match=r"memory-alone has no figures for times.*gpu_speeds and \[links\]"
    ):
        core_speeds(find_cluster(cluster_without_times))


def test_without_nvlink_an_all_reduce_is_a_ring_over_pcie() -> None:
    """Eight GPUs with 15 GB/s from one to the next: 14 steps of an eighth each, never by LL128."""
    with polyrank.forecast("l40s-pcie", world_size=8, time=True) as f:
        x = torch.empty(2**28, device="cuda")
        dist.all_reduce(x)
    took = f.time.whole.by_operator["all_reduce"].communication_ns
    assert took == pytest.approx(2 * x.nbytes * 7 / 8 / 15, rel=0.01)
    assert "ring, Simple" in f.timeline.chrome_trace(0)


def own_cluster(folder: Path, table: str) -> str:
    ours = Path(speeds.__file__).with_name("clusters") / "dgx-h100.toml"
    file = folder / "own cluster.toml"
    file.write_text(ours.read_text().replace('"h100-sxm"', f'"{table}"'))
    return str(file)


def test_an_unknown_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no table 'h100-pcie'.*a100-sxm-80gb"):
        gpu_table(find_cluster(own_cluster(tmp_path, "h100-pcie")))


def test_all_that_is_wrong_with_a_table_is_told(tmp_path: Path) -> None:
    ours = Path(speeds.__file__).with_name("speeds") / "gpus" / "h100-sxm.toml"
    lines = [line for line in ours.read_text().splitlines() if not line.startswith("kernel_us")]
    text = "\n".join(lines).replace("hopper", "turing").replace("[[128, 256],", "[[0, 256],")
    text = text.replace("memory_gb_s = { value = 3352", "memory_gb_s = { value = 0")
    file = tmp_path / "mine.toml"
    file.write_text(text + "\nclock = 3\n")
    with pytest.raises(UsageError) as error:
        gpu_table(find_cluster(own_cluster(tmp_path, str(file))))
    for part in (
        "generation must be one of ampere, hopper, blackwell, and is 'turing'",
        "kernel_us is missing",
        "memory_gb_s.value must be a positive number, and is 0",
        "tiles.value must be a list of pairs of positive integers",
        "clock is no field of a table of speeds",
    ):
        assert part in str(error.value)


def test_wrong_links_are_told(tmp_path: Path) -> None:
    ours = Path(speeds.__file__).with_name("clusters") / "dgx-h100.toml"
    text = ours.read_text().replace("network_gb_s = { value = 50", "network_gb_s = { value = 0")
    file = tmp_path / "mine.toml"
    file.write_text(text.replace("node_channels", "channels"))
    with pytest.raises(UsageError) as error:
        find_cluster(str(file))
    for part in (
        "links: network_gb_s.value must be a positive number, and is 0",
        "links: node_channels is missing",
        "links: channels is no field of links",
    ):
        assert part in str(error.value)
