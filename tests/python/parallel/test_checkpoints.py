"""Initialisation on meta, state dicts and checkpoints: as in 4 real gloo processes, bit for bit.

Each world also loads what the other has saved.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed.checkpoint as dcp
from collectives.comparison import differences, run_in_lockstep
from collectives.gloo_processes import Results, run_all_ranks
from parallel.checkpoint_programs import (
    FOLDER,
    PROGRAMS,
    WORLD_SIZE,
    load,
    save,
)
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial

WORLDS = ("lockstep", "processes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path: Path = tmp_path_factory.mktemp("checkpoints")
    os.environ[FOLDER] = str(path)
    yield path
    del os.environ[FOLDER]


@pytest.fixture(scope="module")
def saved_in_lockstep(folder: Path, world4: None) -> list[torch.Tensor]:
    return save(polyrank.rank_map, "lockstep")


@pytest.fixture(scope="module")
def gloo_results(
    saved_in_lockstep: list[torch.Tensor], tmp_path_factory: pytest.TempPathFactory
) -> list[Results]:
    path = tmp_path_factory.mktemp("gloo")
    return run_all_ranks(path, "parallel.checkpoint_programs", WORLD_SIZE)


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_rank_gets_what_gloo_gives(
    name: str, gloo_results: list[Results], world4: None
) -> None:
    expected = [of_rank[name] for of_rank in gloo_results]
    if name == "save_from_processes":  # their files stay for the tests below

        def program(make: Any, _: Any) -> list[torch.Tensor]:
            return save(make, "again")
    else:
        program = PROGRAMS[name]
    assert not differences(run_in_lockstep(program, {}), expected)


def test_lockstep_loads_what_processes_saved(gloo_results: list[Results], world4: None) -> None:
    loaded = run_in_lockstep(lambda make, _: load(make, "processes"), {})
    # They load the same from lockstep's files.
    assert not differences(
        loaded, [of_rank["load_what_lockstep_saved"] for of_rank in gloo_results]
    )


def test_the_files_are_those_of_processes(folder: Path, gloo_results: list[Results]) -> None:
    names = [sorted(file.name for file in (folder / name).iterdir()) for name in WORLDS]
    assert names[0] == names[1]
    assert len(names[0]) == WORLD_SIZE + 1
    metadata = [dcp.FileSystemReader(folder / name).read_metadata() for name in WORLDS]
    assert metadata[0].state_dict_metadata == metadata[1].state_dict_metadata
    places = [
        {index: info.relative_path for index, info in m.storage_data.items()} for m in metadata
    ]
    assert places[0] == places[1]


def test_what_a_planner_refuses_is_processes_exception(tmp_path: Path, world4: None) -> None:
    mesh = init_device_mesh("cpu", (WORLD_SIZE,))
    partial = DTensor.from_local(torch.ones(2), mesh, [Partial()])
    with pytest.raises(CheckpointException, match="partial placements") as raised:
        dcp.save({"weight": partial}, checkpoint_id=str(tmp_path))
    assert sorted(raised.value.failures) == list(range(WORLD_SIZE))


def test_a_missing_key_is_processes_exception(tmp_path: Path, world4: None) -> None:
    dcp.save({"weight": torch.ones(2)}, checkpoint_id=str(tmp_path))
    with pytest.raises(CheckpointException, match="other") as raised:
        dcp.load({"other": torch.ones(2)}, checkpoint_id=str(tmp_path))
    assert raised.value.failures
