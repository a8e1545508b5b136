"""Chakra execution traces, read back with the schema that MLCommons publishes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank.cli import forecast as _command  # noqa: F401  adds itself to `app`
from polyrank.cli.app import app
from polyrank.errors import UsageError
from polyrank.forecast.chakra import chakra_traces, check_chakra_folder, write_chakra
from polyrank.forecast.chakra_schema import chakra_messages
from polyrank.forecast.work_graph import work_graph
from typer.testing import CliRunner

# scripts/setup.sh installs it without what it needs for other things than its schema.
published = pytest.importorskip("chakra.schema.protobuf.et_def_pb2")
protolib = pytest.importorskip("chakra.src.third_party.utils.protolib")

WIDTH = 1024
RANKS = 4


def read(file: Path) -> tuple[Any, list[Any]]:
    """Metadata and nodes of a file."""
    opened = protolib.openFileRd(str(file))
    about = published.GlobalMetadata()
    assert protolib.decodeMessage(opened, about)
    nodes = []
    while True:
        node = published.Node()
        if not protolib.decodeMessage(opened, node):
            break
        nodes.append(node)
    opened.close()
    return about, nodes


def attributes(node: Any) -> dict[str, Any]:
    return {one.name: getattr(one, one.WhichOneof("value")) for one in node.attr}


def traces_of(program: Callable[[int], None], ranks: int = RANKS) -> dict[int, bytes]:
    recordings = []
    for rank in range(ranks):
        with polyrank.forecast(world_size=ranks, rank=rank, time=True) as f:
            program(rank)
        assert f.timeline is not None
        recordings.append(f.timeline.recording(rank))
    return chakra_traces(recordings, ranks)


def read_back(program: Callable[[int], None], folder: Path) -> dict[int, list[Any]]:
    traces = traces_of(program)
    write_chakra(folder, "a program", traces)
    return {rank: read(folder / f"a program.{rank}.et")[1] for rank in traces}


def test_the_schema_is_the_published_one() -> None:
    ours = chakra_messages()
    for name in ("AttributeProto", "GlobalMetadata", "IOInfo", "Node"):
        theirs = published.DESCRIPTOR.message_types_by_name[name].fields_by_name
        for field in getattr(ours, name).DESCRIPTOR.fields:
            same = theirs[field.name]
            assert (field.number, field.type, field.is_repeated) == (
                same.number,
                same.type,
                same.is_repeated,
            )
            oneofs = [one.containing_oneof and one.containing_oneof.name for one in (field, same)]
            assert oneofs[0] == oneofs[1]
    for enum in published.DESCRIPTOR.enum_types_by_name.values():
        for value in enum.values:
            assert getattr(ours, value.name) == value.number


def train(rank: int) -> None:
    """Two tensor-parallel groups of two, and data parallelism across them."""
    groups = [dist.new_group(ranks) for ranks in ([0, 1], [2, 3], [0, 2], [1, 3])]
    tensor_parallel, data_parallel = groups[rank // 2], groups[2 + rank % 2]
    weight = torch.empty(WIDTH, WIDTH, device="cuda", dtype=torch.bfloat16)
    x = torch.empty(WIDTH, WIDTH, dtype=torch.bfloat16).pin_memory().to("cuda", non_blocking=True)
    parts = [torch.empty_like(x) for _ in range(2)]
    for _ in range(2):
        y = x @ weight
        dist.all_gather(parts, y, group=tensor_parallel)
        dist.all_reduce(y, group=tensor_parallel)
        half = torch.empty(WIDTH // 2, WIDTH, device="cuda", dtype=torch.bfloat16)
        work = dist.reduce_scatter_tensor(half, y, group=data_parallel, async_op=True)
        x @ weight
        assert work is not None
        work.wait()
    dist.broadcast(y, 0)
    half.cpu()
    torch.empty(half.shape, dtype=half.dtype).copy_(half)


def test_each_kind_of_work_is_a_node_of_its_kind(tmp_path: Path) -> None:
    nodes = read_back(train, tmp_path)[3]
    kernels = [node for node in nodes if not attributes(node)["is_cpu_op"]]
    by_name: dict[str, list[Any]] = {}
    for node in kernels:
        by_name.setdefault(node.name, []).append(node)
    size = 2 * WIDTH * WIDTH

    def one(name: str) -> tuple[int, dict[str, Any]]:
        return by_name[name][0].type, attributes(by_name[name][0])

    kind, told = one("aten::mm")
    assert kind == published.COMP_NODE
    assert told["num_ops"] == 2 * WIDTH**3
    assert told["tensor_size"] == 3 * size
    kind, told = one("all_reduce")
    assert (kind, told["comm_type"]) == (published.COMM_COLL_NODE, published.ALL_REDUCE)
    assert told["comm_size"] == size
    kind, told = one("all_gather")  # what this rank puts in
    assert (told["comm_type"], told["comm_size"]) == (published.ALL_GATHER, size)
    kind, told = one("reduce_scatter")
    assert (told["comm_type"], told["comm_size"]) == (published.REDUCE_SCATTER, size)
    kind, told = one("broadcast")
    assert (told["comm_type"], told["comm_size"]) == (published.BROADCAST, size)
    assert told["pg_name"] == "0"
    loads = [node for node in nodes if node.type == published.MEM_LOAD_NODE]
    stores = [node for node in nodes if node.type == published.MEM_STORE_NODE]
    assert [attributes(node)["tensor_size"] for node in loads] == [size]
    assert [attributes(node)["tensor_size"] for node in stores] == [size // 2] * 2


def test_groups_have_one_number_in_all_files(tmp_path: Path) -> None:
    members: dict[str, set[int]] = {}
    told: dict[str, list[int]] = {}
    for rank, nodes in read_back(train, tmp_path).items():
        assert nodes[0].type == published.METADATA_NODE
        # As ASTRA-sim reads it: two characters around the JSON.
        groups = {one["pg_name"]: one["ranks"] for one in json.loads(nodes[0].inputs.values[2:-2])}
        used = {attributes(node)["pg_name"] for node in nodes if node.type == 7}
        assert used == set(groups)
        for name, ranks in groups.items():
            assert told.setdefault(name, ranks) == ranks
            members.setdefault(name, set()).add(rank)
    assert {name: set(ranks) for name, ranks in told.items()} == members
    assert told["0"] == [0, 1, 2, 3]
    assert sorted(told.values()) == [[0, 1], [0, 1, 2, 3], [0, 2], [1, 3], [2, 3]]


def test_running_the_nodes_gives_the_times_of_the_forecast(tmp_path: Path) -> None:
    with polyrank.forecast(world_size=RANKS, rank=1, time=True) as f:
        train(1)
    assert f.timeline is not None
    recording = f.timeline.recording(1)
    write_chakra(tmp_path, "x", chakra_traces([recording], RANKS))
    about, nodes = read(tmp_path / "x.1.et")
    assert {one.name: one.int64_val for one in about.attr if one.name != "schema"} == {
        "rank": 1,
        "world_size": RANKS,
    }
    ends: dict[int, int] = {}
    for node in nodes:
        assert node.id not in ends
        start = max((ends[before] for before in node.data_deps), default=0)
        assert node.start_time_micros == start
        assert set(node.ctrl_deps) <= set(node.data_deps)
        ends[node.id] = start + node.duration_micros
    graph = work_graph(recording)
    assert list(ends.values())[1:] == [node.end_ns // 1000 for node in graph]
    assert max(ends.values()) == f.time.whole.ns // 1000


def pipeline(rank: int) -> None:
    """Rank after rank: two messages to the next one, and one back."""
    message = torch.empty(1000 + 24, device="cuda")
    if rank > 0:
        dist.recv(message, rank - 1)
        dist.recv(message[:512], rank - 1)
    if rank < RANKS - 1:
        dist.send(message, rank + 1)
        dist.send(message[:512], rank + 1)
        dist.recv(message, rank + 1)
    if rank > 0:
        dist.send(message, rank - 1)


def test_each_message_is_sent_and_received_under_one_tag(tmp_path: Path) -> None:
    def told(nodes: list[Any], kind: int) -> list[tuple[int, int, int, int]]:
        found = [attributes(node) for node in nodes if node.type == kind]
        return sorted(
            (one["comm_src"], one["comm_dst"], one["comm_tag"], one["comm_size"]) for one in found
        )

    files = read_back(pipeline, tmp_path)
    sent = sorted(one for nodes in files.values() for one in told(nodes, published.COMM_SEND_NODE))
    received = sorted(
        one for nodes in files.values() for one in told(nodes, published.COMM_RECV_NODE)
    )
    assert sent == received
    assert len(set(sent)) == len(sent) == 3 * (RANKS - 1)
    assert [one[3] for one in told(files[0], published.COMM_SEND_NODE)] == [4096, 2048]


def test_what_the_schema_cannot_say_is_refused() -> None:
    def from_anyone(rank: int) -> None:
        dist.recv(torch.empty(8, device="cuda"))

    with pytest.raises(UsageError, match="rank 0 receives from anyone"):
        traces_of(from_anyone, ranks=2)


def test_a_folder_with_traces_of_other_ranks_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a new" / "folder"
    assert check_chakra_folder(folder, "train", [0, 1]) == folder
    (folder / "train.1.et").touch()
    (folder / "other.7.et").touch()
    assert check_chakra_folder(folder, "train", [0, 1]) == folder
    (folder / "train.7.et").touch()
    with pytest.raises(UsageError, match=r"has train\.7\.et of an earlier run"):
        check_chakra_folder(folder, "train", [0, 1])
    with pytest.raises(UsageError, match="is no folder"):
        check_chakra_folder(folder / "train.1.et", "train", [0])


SCRIPT = """
import os
import torch
import torch.distributed as dist

dist.init_process_group("nccl")
torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
rank = dist.get_rank()
layer = torch.nn.Linear(512, 512, device="cuda")
model = torch.nn.parallel.DistributedDataParallel(layer)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
while True:
    model(torch.empty(64, 512, device="cuda")).sum().backward()
    optimizer.step()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "my train.py"
    file.write_text(SCRIPT)
    return file


@pytest.mark.parametrize(("ranks", "written"), [("0-3", range(4)), ("2", [2])])
def test_the_command_writes_a_file_for_each_rank(
    ranks: str, written: list[int], script: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "traces"
    options = ["--ranks", "4", "--rank", ranks, "--steps", "2", "--chakra", str(folder)]
    command = [sys.executable, "-m", "polyrank.cli", "forecast", *options, str(script)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    assert run.returncode == 0, run.stderr
    assert sorted(file.name for file in folder.iterdir()) == [
        f"my train.{rank}.et" for rank in written
    ]
    counts = {
        tuple(sorted((attributes(node).get("comm_size", 0)) for node in nodes if node.type == 7))
        for nodes in (read(file)[1] for file in folder.iterdir())
    }
    # Once the parameters, as DDP compares and broadcasts them; the gradients of both steps.
    assert len(counts) == 1
    assert counts.pop().count(4 * (512 * 512 + 512)) >= 2


def test_wrong_options_are_told(script: Path, tmp_path: Path) -> None:
    def words(*options: str) -> str:
        run = CliRunner().invoke(app, ["forecast", "--ranks", "8", *options, str(script)])
        assert run.exit_code == 2
        return " ".join(run.output.replace("│", " ").split())

    assert "is no folder" in words("--chakra", str(script))
    slow = ("--rank", "0,1", "--slow", "1=2")
    assert "leave --slow out" in words("--chakra", str(tmp_path / "traces"), *slow)


def test_without_protobuf_it_says_what_to_install(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "google.protobuf.proto", None)
    run = CliRunner().invoke(app, ["forecast", "--chakra", str(tmp_path / "x"), str(script)])
    assert run.exit_code == 2
    assert "pip install --upgrade protobuf" in run.output
    assert run.output.count("--chakra") == 1
    assert not (tmp_path / "x").exists()
