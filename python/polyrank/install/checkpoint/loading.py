"""Loading with torch.distributed.checkpoint, each rank by its own planner and reader."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.planner import LoadItemType, LoadPlan, LoadPlanner
from torch.distributed.checkpoint.storage import StorageReader

from polyrank.errors import UnsupportedOpError
from polyrank.install.checkpoint.rank_views import (
    StateDict,
    WritingViews,
    check_runs_all_ranks,
    local_of,
)
from polyrank.install.checkpoint.steps import Step
from polyrank.tensor.active_modes import local_tensor_mode


@dataclass
class _Loader:
    """What one rank's process has, and the steps that it takes."""

    rank: int
    is_coordinator: bool
    state_dict: StateDict
    planner: Any
    reader: Any
    has_global_metadata: bool = True

    def make_plan(self) -> LoadPlan:
        metadata = self._read_metadata()
        self.planner.set_up_planner(self.state_dict, metadata, self.is_coordinator)
        options: dict[str, Any] = {}
        if "kwargs" in inspect.signature(self.reader.set_up_storage_reader).parameters:
            options = {"rank": self.rank, "use_collectives": self.has_global_metadata}
        self.reader.set_up_storage_reader(metadata, self.is_coordinator, **options)
        plan: LoadPlan = self.reader.prepare_local_plan(self.planner.create_local_plan())
        return plan

    def _read_metadata(self) -> Any:
        try:
            return self.reader.read_metadata()
        except Exception:
            if "kwargs" not in inspect.signature(self.reader.read_metadata).parameters:
                raise
            metadata = self.reader.read_metadata(rank=self.rank)
            self.has_global_metadata = False
            return metadata

    def agree(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        agreed: list[LoadPlan] = self.reader.prepare_global_plan(
            self.planner.create_global_plan(plans)
        )
        return agreed

    def memory_of(self, name: str) -> int:
        """What tells the memory that `name` is read into from others'."""
        target = self.planner.state_dict[name]
        return local_of(target).untyped_storage()._cdata if isinstance(target, torch.Tensor) else -1


class _OnceRead:
    """Lets ranks that share memory read it once."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, int], tuple[int, list[Any]]] = {}

    def remaining(self, loader: _Loader, plan: LoadPlan) -> LoadPlan:
        """The plan without what an earlier rank has read.

        Raises:
            UnsupportedOpError: this rank would read something else into the same memory.
        """
        by_name: dict[str, list[Any]] = {}
        for item in plan.items:
            by_name.setdefault(item.dest_index.fqn, []).append(item)
        items: list[Any] = []
        for name, of_name in by_name.items():
            if any(item.type is LoadItemType.BYTE_IO for item in of_name):
                items += of_name
                continue
            key = (name, loader.memory_of(name))
            reader, before = self._items.setdefault(key, (loader.rank, of_name))
            if before is of_name:
                items += of_name
            elif before != of_name:
                raise UnsupportedOpError(
                    f"the planner reads {name!r} differently on ranks {reader} and {loader.rank}, "
                    "which hold the same: clone the tensor with polyrank.rank_map first"
                )
        return dataclasses.replace(plan, items=items)


def load_state_dict(
    state_dict: StateDict,
    storage_reader: StorageReader,
    process_group: Any = None,
    coordinator_rank: int = 0,
    no_dist: bool = False,
    planner: LoadPlanner | None = None,
) -> None:
    """Read what each rank would read; ranks that hold the same piece read it once.

    Source: `torch.distributed.checkpoint.state_dict_loader._load_state_dict`, whose protocol of
    planner and reader it follows.
    """
    mode: Any = local_tensor_mode()
    check_runs_all_ranks(mode, process_group, "load")
    ranks = sorted(mode.ranks)
    views = WritingViews(state_dict, ranks)
    given = DefaultLoadPlanner() if planner is None else planner
    loaders = [
        _Loader(
            rank,
            no_dist or rank == coordinator_rank,
            views.of_rank[rank],
            copy.copy(given),
            copy.copy(storage_reader),
        )
        for rank in ranks
    ]
    once_read = _OnceRead()
    reading = Step("read")
    for loader, plan in zip(loaders, _agreed_plans(loaders, no_dist), strict=True):
        with reading.of(loader.rank):
            own = once_read.remaining(loader, loader.planner.finish_plan(plan))
            loader.reader.read_data(own, loader.planner).wait()
    reading.end()
    with mode.enable():
        views.write_back()


def _agreed_plans(loaders: list[_Loader], no_dist: bool) -> list[LoadPlan]:
    planning = Step("plan")
    plans = []
    for loader in loaders:
        with planning.of(loader.rank):
            plan = loader.make_plan()
            if no_dist or not loader.has_global_metadata:
                (plan,) = loader.agree([plan])
            plans.append(plan)
    planning.end()
    coordinator = next(loader for loader in loaders if loader.is_coordinator)
    if no_dist or not coordinator.has_global_metadata:
        return plans
    with planning.of(coordinator.rank):
        plans = coordinator.agree(plans)
    planning.end()
    return plans
