"""Checkpoints that one lockstep world saves and another, of another size, loads; and odd uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from parallel.checkpoint_programs import leaves, make_trained, mesh_of
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor


@pytest.fixture(autouse=True)
def _installed() -> Iterator[None]:
    polyrank.install()
    yield
    polyrank.uninstall()


def full_state(net: Any, optimizer: Any) -> list[torch.Tensor]:
    options = StateDictOptions(full_state_dict=True)
    return [polyrank.reconcile(t) for t in leaves(get_state_dict(net, optimizer, options=options))]


def save_trained(path: Path) -> list[torch.Tensor]:
    net, optimizer = make_trained(polyrank.rank_map, 0)
    model_state, optimizer_state = get_state_dict(net, optimizer)
    buffers = {name: b.clone() for name, b in net.named_buffers()}
    for name, buffer in buffers.items():  # BatchNorm's differ between ranks; a checkpoint has one
        model_state[name] = polyrank.rank_map(lambda _, b=buffer: b.on_rank(0).clone())
    net.load_state_dict(model_state)
    dcp.save({"model": model_state, "optimizer": optimizer_state}, checkpoint_id=path)
    return full_state(net, optimizer)


def load_into_other(path: Path) -> list[torch.Tensor]:
    net, optimizer = make_trained(polyrank.rank_map, 1, num_steps=2)
    model_state, optimizer_state = get_state_dict(net, optimizer)
    state = {"model": model_state, "optimizer": optimizer_state}
    dcp.load(state, checkpoint_id=path)
    set_state_dict(
        net, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"]
    )
    return full_state(net, optimizer)


@pytest.mark.parametrize(("saving", "loading"), [(8, 4), (3, 5), (2, 1)])
def test_another_number_of_ranks_loads_the_same(saving: int, loading: int, tmp_path: Path) -> None:
    with polyrank.lockstep(saving):
        saved = save_trained(tmp_path)
    with polyrank.lockstep(loading):
        loaded = load_into_other(tmp_path)
    assert len(saved) == len(loaded)
    assert all(torch.equal(a, b) for a, b in zip(saved, loaded, strict=True))


def test_one_process_without_ranks_reads_it(tmp_path: Path) -> None:
    with polyrank.lockstep(4):
        rows = distribute_tensor(torch.arange(14.0).reshape(7, 2), mesh_of(4), [Shard(0)])
        dcp.save({"rows": rows, "step": 3}, checkpoint_id=tmp_path / "dcp")
    dcp_to_torch_save(tmp_path / "dcp", tmp_path / "file.pt")
    state = torch.load(tmp_path / "file.pt")
    assert torch.equal(state["rows"], torch.arange(14.0).reshape(7, 2))
    assert state["step"] == 3


def test_replicas_are_read_once_and_stay_one_cohort(tmp_path: Path) -> None:
    with polyrank.lockstep(8):
        mesh = mesh_of(4, 2)
        values = torch.arange(6.0)
        dcp.save(
            {"x": distribute_tensor(values, mesh, [Replicate(), Shard(0)])}, checkpoint_id=tmp_path
        )
        target = distribute_tensor(torch.zeros(6), mesh, [Replicate(), Shard(0)])
        reads: list[int] = []
        reader = _CountingReader(tmp_path, reads)
        dcp.load({"x": target}, storage_reader=reader)
        local: Any = target.to_local()
        assert sum(reads) == 2
        assert len(local.cohorts()) == 2
        assert torch.equal(local.on_rank(5), values[3:])


class _CountingReader(dcp.FileSystemReader):
    def __init__(self, path: Path, reads: list[int]) -> None:
        super().__init__(path)
        self.reads = reads

    def read_data(self, plan: Any, planner: Any) -> Any:
        self.reads.append(len(plan.items))
        return super().read_data(plan, planner)


def test_of_objects_that_differ_one_ranks_is_kept(tmp_path: Path) -> None:
    # All ranks name it alike, so that one of them writes it, as in processes.
    with polyrank.lockstep(4):
        dcp.save({"rank": dist.get_rank(), "same": 5}, checkpoint_id=tmp_path)
        state = {"rank": -1, "same": 0}
        dcp.load(state, checkpoint_id=tmp_path)
        assert state["rank"] in range(4)
        assert state["same"] == 5


def test_async_save(tmp_path: Path) -> None:
    with polyrank.lockstep(4):
        rows = distribute_tensor(torch.arange(8.0), mesh_of(4), [Shard(0)])
        dcp.async_save({"rows": rows}, checkpoint_id=tmp_path).result()
        target = distribute_tensor(torch.zeros(8), mesh_of(4), [Replicate()])
        dcp.load({"rows": target}, checkpoint_id=tmp_path)
        assert torch.equal(polyrank.reconcile(target.to_local()), torch.arange(8.0).reconcile())


def test_groups_of_ranks_are_refused(tmp_path: Path) -> None:
    with polyrank.lockstep(4):
        group = mesh_of(2, 2).get_group("dp")
        with pytest.raises(polyrank.UnsupportedOpError, match="groups of 2 of the 4 ranks"):
            dcp.save({"x": torch.ones(2)}, checkpoint_id=tmp_path, process_group=group)


def test_every_rank_writing_the_same_files_is_refused(tmp_path: Path) -> None:
    with polyrank.lockstep(4), pytest.raises(polyrank.UnsupportedOpError, match="no_dist"):
        dcp.save({"x": torch.ones(2)}, checkpoint_id=tmp_path, no_dist=True)


def test_a_shape_that_is_not_the_checkpoints(tmp_path: Path) -> None:
    with polyrank.lockstep(4):
        dcp.save({"x": torch.ones(2)}, checkpoint_id=tmp_path)
        with pytest.raises((ValueError, dcp.CheckpointException), match=r"[Ss]ize mismatch"):
            dcp.load({"x": torch.ones(3)}, checkpoint_id=tmp_path)


def test_local_tensors_of_a_dtensor_keep_their_identity(tmp_path: Path) -> None:
    with polyrank.lockstep(2):
        target = distribute_tensor(torch.zeros(4), mesh_of(2), [Shard(0)])
        assert isinstance(target, DTensor)
        local = target.to_local()
        dcp.save(
            {"x": distribute_tensor(torch.ones(4), mesh_of(2), [Shard(0)])}, checkpoint_id=tmp_path
        )
        dcp.load({"x": target}, checkpoint_id=tmp_path)
        assert torch.equal(polyrank.reconcile(local), torch.ones(2).reconcile())
