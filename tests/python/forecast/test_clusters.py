"""Cluster files: what comes with the package is right, and what is wrong is told field by field."""

from __future__ import annotations

import re
from pathlib import Path

import polyrank
import pytest
from polyrank.errors import UsageError
from polyrank.forecast.clusters import Figure, cluster_names, find_cluster

CLUSTERS = Path(polyrank.__file__).parent / "forecast" / "clusters"

GOOD = """
gpu_name = "GPU"
gpus_per_node = 8
compute_capability = [9, 0]
multiprocessors = 132
memory_mib = { value = 1000, source = "the vendor" }
context_mib = { value = 10, source = "measured" }
first_communicator_mib = { value = 20, source = "measured" }
further_communicator_mib = { value = 5.5, source = "measured" }
"""


def file_of(folder: Path, text: str) -> str:
    file = folder / "own.toml"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize("name", cluster_names())
def test_each_cluster_of_ours_is_whole(name: str) -> None:
    cluster = find_cluster(name)
    assert cluster.name == name
    figures = [value for value in vars(cluster).values() if isinstance(value, Figure)]
    assert len(figures) == 4
    assert all(figure.source for figure in figures)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    cluster = find_cluster(file_of(tmp_path, GOOD))
    assert cluster.memory_bytes == 1000 * 2**20
    assert cluster.communicator_bytes(0) == 0
    assert cluster.communicator_bytes(3) == 31 * 2**20


def test_all_that_is_wrong_is_told(tmp_path: Path) -> None:
    text = GOOD.replace("gpus_per_node = 8", "gpus_per_node = 0").replace(
        'context_mib = { value = 10, source = "measured" }', "context_mib = 10"
    )
    text = text.replace('"the vendor"', '""').replace("multiprocessors", "processors")
    text = text.replace("gpus_per_node", "gpus_per_nvlink_domain = -1\ngpus_per_node", 1)
    with pytest.raises(UsageError) as error:
        find_cluster(file_of(tmp_path, text))
    for part in (
        "gpus_per_node must be positive, and is 0",
        "gpus_per_nvlink_domain must be positive, and is -1",
        "context_mib must be a table",
        "memory_mib must have a value and a source",
        "multiprocessors is missing",
        "processors is no field",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("memory_mib", "nan", "memory_mib.value must be a number of MiB, 0 or more, and is nan"),
        ("memory_mib", "inf", "and is inf"),
        ("memory_mib", "-5", "must be a number of MiB, 0 or more, and is -5"),
        ("memory_mib", "true", "and is True"),
        ("context_mib", "5000", "must be less than memory_mib, which is 1000, and is 5000"),
    ],
)
def test_what_is_no_amount_is_told(tmp_path: Path, field: str, value: str, says: str) -> None:
    text = re.sub(rf"({field} = \{{ value = )[^,]+", rf"\g<1>{value}", GOOD)
    assert text != GOOD
    with pytest.raises(UsageError, match=re.escape(says)):
        find_cluster(file_of(tmp_path, text))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("node_channels", "1.5", "node_channels.value must be a positive whole number, and is 1.5"),
        ("nvls_channels", "-2", "nvls_channels.value must be a whole number, 0 or more, and is -2"),
        ("network_gb_s", "1e400", "must be a positive number, and is inf"),
    ],
)
def test_what_is_no_link_is_told(tmp_path: Path, field: str, value: str, says: str) -> None:
    text = (CLUSTERS / "dgx-h100.toml").read_text()
    changed = re.sub(rf"({field} = \{{ value = )[^,]+", rf"\g<1>{value}", text)
    assert changed != text
    with pytest.raises(UsageError, match=re.escape(says)):
        find_cluster(file_of(tmp_path, changed))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('host_cpu = "sparc"', "host_cpu must be one of intel, amd, arm, and is 'sparc'"),
        ("host_cpu = 1", "host_cpu must be a text, and is 1"),
        (
            'network_cards = { value = 0.5, source = "a test" }',
            "network_cards.value must be a positive whole number, and is 0.5",
        ),
        ("nvls_channel_gb_s = 20", "nvls_channel_gb_s is no field of links"),
    ],
)
def test_what_links_have_beside_figures_is_checked(tmp_path: Path, line: str, says: str) -> None:
    text = (CLUSTERS / "dgx-h100.toml").read_text()
    own = [one for one in text.splitlines() if not one.startswith("host_cpu")]
    changed = "\n".join(own).replace("[links]", f"[links]\n{line}\n#", 1)
    with pytest.raises(UsageError, match=re.escape(says)):
        find_cluster(file_of(tmp_path, changed))


def test_a_domain_of_nvlink_is_whole_nodes(tmp_path: Path) -> None:
    def cluster(domain: int) -> str:
        return file_of(tmp_path, f"gpus_per_nvlink_domain = {domain}\n{GOOD}")

    assert find_cluster(cluster(32)).linked_gpus == 32
    assert find_cluster(file_of(tmp_path, GOOD)).linked_gpus == 8
    with pytest.raises(UsageError, match="must be whole nodes of 8, and is 12"):
        find_cluster(cluster(12))


def test_a_file_that_is_no_toml(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"own\.toml"):
        find_cluster(file_of(tmp_path, "gpu_name"))


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(UsageError, match=r"there are .*dgx-h100"):
        find_cluster("dgx-h1000")
