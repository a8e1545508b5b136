"""`polyrank run` on virtual GPUs: in every world a program for GPUs has the CPU's values."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
TESTS = HERE.parents[1]
WORLDS = ("processes", "threads", "lockstep", "fake", "real")
RANKS = 4
HEAD = "import os, torch\nimport torch.distributed as dist\n"


def run(script: Path, world: str, *options: str, **variables: str) -> str:
    """What the program prints, which has to end well."""
    done = started(script, world, *options, **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout


def started(
    script: Path, world: str, *options: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "polyrank.cli", "run", "--world", world),
            *("--ranks", str(RANKS), *options, str(script)),
        ],
        env={**os.environ, "PYTHONPATH": str(TESTS / "issues"), **variables},
        cwd=script.parent,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def reported(name: str, world: str, folder: Path, *options: str) -> list[dict[str, Any]]:
    """What each rank of a program reported."""
    file = folder / f"{world}{len(list(folder.iterdir()))}.json"
    run(HERE / "programs" / f"{name}.py", world, *options, REPORT_FILE=str(file))
    return json.loads(file.read_text())  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What processes of ours report of the training on the CPU."""
    folder = tmp_path_factory.mktemp("cpu")
    return reported("training", "processes", folder, "--device", "cpu")


@pytest.mark.parametrize("world", ["processes", "threads", "lockstep"])
def test_training_has_the_cpus_values(
    world: str, on_cpu: list[dict[str, Any]], tmp_path: Path
) -> None:
    assert reported("training", world, tmp_path) == on_cpu


def test_training_in_real_processes_has_the_values_of_gloo(tmp_path: Path) -> None:
    gloo = reported("training", "real", tmp_path, "--device", "cpu")
    assert reported("training", "real", tmp_path) == gloo


@pytest.mark.parametrize("world", ["threads", "lockstep"])
def test_torch_takes_the_same_ways_in_every_world(world: str, tmp_path: Path) -> None:
    assert reported("same_ways", world, tmp_path) == reported("same_ways", "processes", tmp_path)


@pytest.fixture(scope="module")
def random_of_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return reported("random_dtensors", "processes", tmp_path_factory.mktemp("random"))


@pytest.mark.parametrize("world", ["threads", "lockstep", "real"])
def test_random_dtensors_are_the_same_in_every_world(
    world: str, random_of_processes: list[dict[str, Any]], tmp_path: Path
) -> None:
    assert reported("random_dtensors", world, tmp_path) == random_of_processes


def test_shards_of_random_dtensors_differ_and_replicas_agree(
    random_of_processes: list[dict[str, Any]],
) -> None:
    ranks = random_of_processes
    for name, (_, (_, _, whole)) in ranks[0]["drawn"].items():
        assert all(rank["drawn"][name][1][2] == whole for rank in ranks)
        if name.startswith(("rand ", "randn ", "normal_", "uniform_", "own")):
            assert len(set(whole)) == len(whole), name  # no number is drawn for two shards
    local = [{name: of[0][2] for name, of in rank["drawn"].items()} for rank in ranks]
    assert all(rank["replicas"] == local[0]["replicas"] for rank in local)
    assert local[0]["half"] == local[2]["half"] != local[1]["half"] == local[3]["half"]
    assert len({tuple(rank["dropout"]) for rank in local}) == RANKS
    assert all(rank["afterwards"] == ranks[0]["afterwards"] for rank in ranks)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return tmp_path / "script.py"


@pytest.mark.parametrize("world", WORLDS)
def test_a_script_has_a_gpu_a_rank(world: str, script: Path) -> None:
    script.write_text(
        HEAD + "dist.init_process_group()\n"
        "cuda = torch.cuda\n"
        "assert cuda.is_available() and cuda.device_count() == 4 and dist.is_nccl_available()\n"
        "rank = dist.get_node_local_rank()\n"
        "cuda.set_device(rank)\n"
        "model = torch.nn.Linear(2, 2).to(rank).cuda(rank)\n"
        "x = torch.ones(1, 2, device=rank).to(rank).to(torch.device('cuda', rank))\n"
        "made = [model(x), torch.ones(1, device='cuda'), x.to('cuda'), x.cuda()]\n"
        "current = torch.device('cuda', cuda.current_device())\n"
        "assert {y.device for y in made} == {current}\n"
        "print(current, flush=True)\n"
    )
    shared = world in ("lockstep", "fake")  # one GPU stands for all ranks', or one rank runs
    # Real processes write when they like, also into another's line.
    printed = sorted(re.findall(r"cuda:\d", run(script, world)))
    assert printed == (["cuda:0"] if shared else [f"cuda:{rank}" for rank in range(RANKS)])


@pytest.mark.parametrize("world", ["processes", "threads", "lockstep"])
def test_a_rank_names_its_gpu_as_it_likes(world: str, script: Path) -> None:
    script.write_text(
        HEAD + "dist.init_process_group()\n"
        "rank = int(os.environ['LOCAL_RANK'])\n"
        "names = (rank, f'cuda:{rank}', torch.device('cuda', rank), torch.device(f'cuda:{rank}'))\n"
        "for name in names:\n"
        "    for part in (torch.cuda, torch.accelerator):\n"
        "        set_index = getattr(part, 'set_device', None) or part.set_device_index\n"
        "        set_index(name)\n"
        "        assert torch.cuda.current_device() == rank\n"
        "        assert torch.accelerator.current_device_index() == rank\n"
        "        x = torch.ones(2, device=name) * (dist.get_rank() + 1)\n"
        "        dist.all_reduce(x)\n"
        "        assert x.tolist() == [10, 10] and x.is_cuda\n"
        "        part.synchronize(name)\n"
        "print('named', flush=True)\n"
    )
    assert run(script, world).count("named") == (1 if world == "lockstep" else RANKS)


@pytest.mark.parametrize("world", ["processes", "threads"])
def test_a_mesh_chooses_for_who_has_not_chosen(world: str, script: Path) -> None:
    script.write_text(
        HEAD + "from torch.distributed.device_mesh import init_device_mesh\n"
        "rank = int(os.environ['LOCAL_RANK'])\n"
        "if rank == 2:\n    torch.cuda.set_device(0)\n"
        "if rank == 3:\n    kept = torch.ones(1, device='cuda')\n"
        "init_device_mesh('cuda', (4,))\n"
        "print(torch.ones(1, device='cuda').device, flush=True)\n"
    )
    printed = re.findall(r"rank(\d)]: cuda:(\d)", run(script, world))
    assert sorted(printed) == [("0", "0"), ("1", "1"), ("2", "0"), ("3", "0")]


@pytest.mark.parametrize("world", WORLDS)
def test_without_gpus_there_are_none(world: str, script: Path) -> None:
    script.write_text(
        HEAD + "assert not torch.cuda.is_available() and torch.cuda.device_count() == 0\n"
        "assert torch.accelerator.current_accelerator() is None and not dist.is_nccl_available()\n"
        "try:\n    torch.ones(1, device='cuda')\n"
        "except (AssertionError, RuntimeError) as error:\n    print('refused', flush=True)\n"
    )
    refused = run(script, world, "--device", "cpu").count("refused")
    assert refused == (1 if world in ("lockstep", "fake") else RANKS)


@pytest.mark.parametrize("world", ["processes", "threads", "real"])
def test_a_gpu_that_is_not_there_is_cudas_error(world: str, script: Path) -> None:
    script.write_text(
        HEAD + "torch.cuda.set_device(0)\n"
        "torch.cuda.set_device(int(os.environ['LOCAL_RANK']) + 1)\n"
        "print(torch.cuda.current_device())\n"
    )
    done = started(script, world)
    assert done.returncode != 0
    assert "CUDA error: invalid device ordinal: cuda:4" in done.stderr


@pytest.mark.parametrize("world", ["processes", "threads", "lockstep", "real"])
def test_checkpoints_of_tensors_on_gpus_come_back(world: str, script: Path) -> None:
    script.write_text(
        HEAD + "import torch.distributed.checkpoint as dcp\n"
        "from torch.distributed.device_mesh import init_device_mesh\n"
        "from torch.distributed.tensor import Shard, distribute_tensor\n"
        "dist.init_process_group('cpu:gloo,cuda:nccl')\n"
        "torch.cuda.set_device(dist.get_node_local_rank())\n"
        "mesh = init_device_mesh('cuda', (4,))\n"
        "def state(scale):\n"
        "    whole = torch.arange(16.0, device='cuda').view(8, 2) * scale\n"
        "    return {'plain': whole, 'cut': distribute_tensor(whole, mesh, [Shard(0)])}\n"
        "dcp.save(state(1), checkpoint_id='saved')\n"
        "read = state(0)\n"
        "dcp.load(read, checkpoint_id='saved')\n"
        "assert read['plain'].is_cuda and torch.equal(read['plain'], state(1)['plain'])\n"
        "assert torch.equal(read['cut'].full_tensor(), state(1)['plain'])\n"
        "print('read', flush=True)\n"
    )
    assert run(script, world).count("read") == (1 if world == "lockstep" else RANKS)


@pytest.mark.parametrize("world", ["processes", "threads", "real"])
def test_the_one_tensor_of_all_ranks_may_be_flat(world: str, script: Path) -> None:
    script.write_text(
        HEAD + "dist.init_process_group('nccl')\n"
        "rank = dist.get_rank()\n"
        "torch.cuda.set_device(rank)\n"
        "flat = torch.empty(8, device='cuda')\n"
        "dist.all_gather_into_tensor(flat, torch.full((1, 2), float(rank), device='cuda'))\n"
        "assert flat.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]\n"
        "piece = torch.empty(1, 2, device='cuda')\n"
        "dist.reduce_scatter_tensor(piece, flat)\n"
        "assert piece.tolist() == [[4.0 * rank] * 2]\n"
        "print('right', flush=True)\n"
    )
    assert run(script, world).count("right") == RANKS


@pytest.mark.parametrize("world", ["processes", "lockstep"])
def test_what_is_compiled_runs_uncompiled(world: str, script: Path) -> None:
    script.write_text(
        HEAD + "dist.init_process_group('nccl')\n"
        "torch.manual_seed(0)\n"
        "model = torch.nn.Linear(2, 2).to('cuda')\n"
        "x = torch.ones(1, 2, device='cuda')\n"
        "assert torch.equal(torch.compile(model)(x), model(x))\n"
        "print('equal', flush=True)\n"
    )
    assert "equal" in run(script, world)
