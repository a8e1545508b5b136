"""Saving with torch.distributed.checkpoint, each rank by its own planner and writer."""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from typing import Any

from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import StorageWriter

from polyrank.errors import UnsupportedOpError
from polyrank.install.checkpoint.rank_views import (
    StateDict,
    check_runs_all_ranks,
    own_memory,
    reading_view,
)
from polyrank.install.checkpoint.steps import Step
from polyrank.tensor.active_modes import local_tensor_mode


@dataclass
class _Saver:
    """What one rank's process has, and the steps that it takes."""

    rank: int
    is_coordinator: bool
    state_dict: StateDict
    planner: Any
    writer: Any

    def make_plan(self, use_collectives: bool) -> SavePlan:
        options: dict[str, Any] = {}
        if "storage_meta" in inspect.signature(self.planner.set_up_planner).parameters:
            options["storage_meta"] = self.writer.storage_meta()
        self.planner.set_up_planner(
            state_dict=self.state_dict, is_coordinator=self.is_coordinator, **options
        )
        options = {}
        if "kwargs" in inspect.signature(self.writer.set_up_storage_writer).parameters:
            options = {"rank": self.rank, "use_collectives": use_collectives}
        self.writer.set_up_storage_writer(self.is_coordinator, **options)
        plan: SavePlan = self.writer.prepare_local_plan(self.planner.create_local_plan())
        return plan

    def agree(self, plans: list[SavePlan]) -> tuple[list[SavePlan], Metadata]:
        plans, metadata = self.planner.create_global_plan(plans)
        return self.writer.prepare_global_plan(plans), metadata

    def write(self, plan: SavePlan) -> Any:
        writes = self.writer.write_data(self.planner.finish_plan(plan), self.planner)
        writes.wait()
        return writes.value()


def _make_saver(
    rank: int, coordinator: int, state_dict: StateDict, planner: SavePlanner, writer: StorageWriter
) -> _Saver:
    own_planner: Any = copy.copy(planner)
    # The cache of plans belongs to a class, as one process has one rank.
    own_planner._enable_plan_caching = False
    own_planner.resolve_data = own_memory(own_planner.resolve_data)
    # The caller may ask its writer about the checkpoint afterwards.
    own_writer = writer if rank == coordinator else copy.copy(writer)
    view = reading_view(state_dict, rank)
    return _Saver(rank, rank == coordinator, view, own_planner, own_writer)


def save_state_dict(
    state_dict: StateDict,
    storage_writer: StorageWriter,
    process_group: Any = None,
    coordinator_rank: int = 0,
    no_dist: bool = False,
    planner: SavePlanner | None = None,
    use_collectives: bool = True,
) -> Metadata:
    """Write what each rank would write, in the order of the ranks.

    Source: `torch.distributed.checkpoint.state_dict_saver._save_state_dict`, whose protocol of
    planner and writer it follows.
    """
    mode: Any = local_tensor_mode()
    check_runs_all_ranks(mode, process_group, "save")
    if no_dist:
        raise UnsupportedOpError(
            "no_dist=True saves one process's tensors, and in lockstep all ranks would write the "
            "same files: leave it out"
        )
    planner = DefaultSavePlanner() if planner is None else planner
    savers = [
        _make_saver(rank, coordinator_rank, state_dict, planner, storage_writer)
        for rank in sorted(mode.ranks)
    ]
    planning, writing = Step("plan"), Step("write")
    plans = []
    for saver in savers:
        with planning.of(saver.rank):
            plans.append(saver.make_plan(use_collectives))
    planning.end()
    if not use_collectives:
        return _finish_alone(savers, plans)
    coordinator = next(saver for saver in savers if saver.is_coordinator)
    with planning.of(coordinator.rank):
        plans, metadata = coordinator.agree(plans)
    planning.end()
    results = []
    for saver, plan in zip(savers, plans, strict=True):
        with writing.of(saver.rank):
            results.append(saver.write(plan))
    writing.end()
    with writing.of(coordinator.rank):
        coordinator.writer.finish(metadata=metadata, results=results)
    writing.end()
    return metadata


def _finish_alone(savers: list[_Saver], plans: list[SavePlan]) -> Metadata:
    """Each rank's own checkpoint; the first rank's metadata is returned."""
    writing = Step("write")
    metadata_of_ranks = []
    for saver, plan in zip(savers, plans, strict=True):
        with writing.of(saver.rank):
            (own_plan,), metadata = saver.agree([plan])
            saver.writer.finish(metadata=metadata, results=[saver.write(own_plan)])
            metadata_of_ranks.append(metadata)
    writing.end()
    return metadata_of_ranks[0]
