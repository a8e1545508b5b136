"""What torch.distributed answers about groups is the same in each world, as gloo's processes get it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from polyrank.rank_text.marked import text_on_ranks

PROGRAM = r"""
import sys
import torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

def answer(name, *values):
    texts = [
        str(value) if not isinstance(value, torch.Tensor)
        else f"BY RANK {[value.on_rank(r).tolist() for r in range(4)]}" if hasattr(value, "on_rank")
        else str(value.tolist())
        for value in values
    ]
    sys.stdout.write("|".join([name, *texts]) + "\n")
    sys.stdout.flush()

dist.init_process_group("gloo")
rank = dist.get_rank()
group = dist.new_group([0, 1])
named = dist.new_group([1, 3], backend="cpu:gloo")
answer("backend", dist.get_backend(), dist.get_backend_config())
answer("backend of a group", dist.get_backend(dist.new_group()))
answer("sizes", dist.get_world_size(), dist.get_world_size(group), dist.get_world_size(named))
answer("ranks", dist.get_rank(group), dist.get_rank(named), dist.get_group_rank(dist.group.WORLD, 2))
own, _ = dist.new_subgroups_by_enumeration([[3, 0], [1, 2]])
answer("own", dist.get_world_size(own), dist.get_process_group_ranks(own), dist.get_backend(own))
mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
answer("mesh", mesh.get_coordinate(), mesh.get_local_rank("tp"), mesh["tp"].get_local_rank())
answer("all ranks of the mesh", mesh.mesh)
answer("ranks of dp", mesh["dp"].mesh)
answer("ranks of tp", mesh["tp"].mesh)
answer("kinds", isinstance(rank, int), isinstance(dist.get_world_size(group), int))
dist.barrier()
dist.destroy_process_group()
"""
RANKS = 4
RUN = ("polyrank.cli", "run", "--ranks", str(RANKS), "--world")


def answers(file: Path, *launcher: str) -> dict[str, list[str]]:
    """Each rank's answers, by what was asked; one list of all ranks' where all print one line."""
    done = subprocess.run(
        (sys.executable, "-m", *launcher, str(file)),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        name, bar, text = re.sub(r"^\[rank\d+\]: ", "", line).partition("|")
        if bar:
            found.setdefault(name, []).append(text)
    return found


@pytest.fixture(scope="module")
def of_gloo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[str]]]:
    """The program, and what gloo's processes answer."""
    file = tmp_path_factory.mktemp("answers") / "program.py"
    file.write_text(PROGRAM)
    launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node", str(RANKS))
    return file, {name: sorted(texts) for name, texts in answers(file, *launcher).items()}


@pytest.mark.parametrize("world", ["real", "processes", "threads"])
def test_ranks_get_what_gloos_processes_get(
    world: str, of_gloo: tuple[Path, dict[str, list[str]]]
) -> None:
    file, expected = of_gloo
    found = answers(file, *RUN, world)
    assert {name: sorted(texts) for name, texts in found.items()} == expected


def test_lockstep_answers_for_each_rank(of_gloo: tuple[Path, dict[str, list[str]]]) -> None:
    file, expected = of_gloo
    found = {}
    for name, (text,) in answers(file, *RUN, "lockstep").items():
        by_rank = text_on_ranks(text, list(range(RANKS)))
        of_tensor = text.removeprefix("BY RANK ")
        if of_tensor != text:
            found[name] = sorted(map(str, ast.literal_eval(of_tensor)))
        else:
            found[name] = [text] * RANKS if by_rank is None else sorted(by_rank.values())
    assert found == expected


def test_one_rank_of_a_fake_world_gets_its_own(
    of_gloo: tuple[Path, dict[str, list[str]]],
) -> None:
    file, expected = of_gloo
    found = answers(file, *RUN, "fake", "--rank", "1")
    assert set(found) == set(expected)
    assert [name for name, (text,) in found.items() if text not in expected[name]] == []
