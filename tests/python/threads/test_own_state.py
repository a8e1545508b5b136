"""What each rank has of its own in Python, though ranks share a process."""

# ruff: noqa: NPY002  the functions that share one stream are what is tested

from __future__ import annotations

import copy
import copyreg
import gc
import logging
import math
import os
import pickle
import random
import sys
import threading
import warnings
import weakref
from collections import OrderedDict, defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank.rank_threads.own_state import Own
from torch.distributed import distributed_c10d
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from torch.distributed.tensor import _random as dtensor_random


def draw() -> list[float]:
    return [random.random(), float(np.random.rand()), float(np.random.standard_normal())]


def test_streams_of_random_and_numpy() -> None:
    def program() -> list[float]:
        random.seed(dist.get_rank())
        np.random.seed(dist.get_rank())
        first = draw()
        dist.barrier()  # other ranks draw meanwhile
        return first + draw()

    for rank, drawn in enumerate(polyrank.run_ranks(program, 3)):
        random.seed(rank)
        np.random.seed(rank)
        assert drawn == draw() + draw()


def test_streams_start_unlike_and_the_same_on_each_run() -> None:
    before = random.getstate()
    drawn = polyrank.run_ranks(draw, 3)
    assert random.getstate() == before
    assert len({tuple(of_rank) for of_rank in drawn}) == 3
    assert polyrank.run_ranks(draw, 3) == drawn


def test_the_process_has_its_functions_back() -> None:
    before = random.random, np.random.rand, np.random.mtrand._rand
    polyrank.run_ranks(draw, 2)
    assert (random.random, np.random.rand, np.random.mtrand._rand) == before


def test_environment_arguments_and_path() -> None:
    def program() -> tuple[str, str, str]:
        rank = str(dist.get_rank())
        os.environ["POLYRANK_TEST"] = rank
        sys.argv.append(rank)
        sys.path.append(rank)
        dist.barrier()
        return os.environ["POLYRANK_TEST"], sys.argv[-1], sys.path[-1]

    before = list(sys.path), list(sys.argv)
    assert polyrank.run_ranks(program, 2) == [("0", "0", "0"), ("1", "1", "1")]
    assert (sys.path, sys.argv) == before
    assert "POLYRANK_TEST" not in os.environ


def test_logging_and_warnings() -> None:
    def program() -> tuple[int, bool, int, str]:
        rank = dist.get_rank()
        logger = logging.getLogger("polyrank_test.own")
        if rank == 0:
            logging.basicConfig(level=logging.INFO, force=True)
            warnings.simplefilter("error")
        else:
            logging.disable(logging.CRITICAL)
        logger.addHandler(logging.NullHandler())
        dist.barrier()
        enabled = shared.isEnabledFor(logging.INFO)
        return len(logger.handlers), enabled, logging.root.level, warnings.filters[0][0]

    shared = logging.getLogger("polyrank_test.shared")
    assert not shared.isEnabledFor(logging.INFO)
    level = logging.root.level
    first, second = polyrank.run_ranks(program, 2)
    assert first == (1, True, logging.INFO, "error")
    assert second[:3] == (1, False, level)
    assert second[3] == warnings.filters[0][0] != "error"
    assert logging.root.level == level
    assert "polyrank_test.own" not in logging.root.manager.loggerDict


def test_default_dtype_and_dtensors_tracker() -> None:
    def program() -> tuple[torch.dtype, object]:
        if dist.get_rank() == 0:
            torch.set_default_dtype(torch.float64)
            dtensor_random._rng_tracker = "rank 0's"  # type: ignore[assignment]
        dist.barrier()
        return torch.ones(1).dtype, dtensor_random._rng_tracker

    assert polyrank.run_ranks(program, 2) == [(torch.float64, "rank 0's"), (torch.float32, None)]
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("own", [True, False])
def test_modules_are_own_if_asked(
    own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_state").mkdir()
    (tmp_path / "own_state" / "__init__.py").write_text("from . import counts\n")
    (tmp_path / "own_state" / "counts.py").write_text("RANKS = []\n")
    monkeypatch.syspath_prepend(tmp_path)

    def program() -> list[int]:
        import own_state

        own_state.counts.RANKS.append(dist.get_rank())
        dist.barrier()
        assert sys.modules["own_state"] is own_state
        return list(own_state.counts.RANKS)

    packages = ["own_state"] if own else []
    try:
        results = polyrank.run_ranks(program, 2, own_modules=packages)
        assert ("own_state" in sys.modules) is not own
    finally:
        for name in ("own_state", "own_state.counts"):
            sys.modules.pop(name, None)
    assert results == ([[0], [1]] if own else [[0, 1], [0, 1]])


def test_an_own_module_may_be_replaced_or_removed() -> None:
    def program() -> list[str | None]:
        rank = dist.get_rank()
        for name in ("own_state_a", "own_state_b"):
            sys.modules[name] = ModuleType(name, f"rank {rank}'s first")
        dist.barrier()
        if rank == 0:
            sys.modules["own_state_a"] = ModuleType("own_state_a", "rank 0's second")
        elif rank == 1:
            del sys.modules["own_state_b"]
        dist.barrier()
        return [
            getattr(sys.modules.get(name), "__doc__", None)
            for name in ("own_state_a", "own_state_b")
        ]

    results = polyrank.run_ranks(program, 3, own_modules=["own_state_a", "own_state_b"])
    assert results == [
        ["rank 0's second", "rank 0's first"],
        ["rank 1's first", None],
        ["rank 2's first", "rank 2's first"],
    ]
    assert "own_state_a" not in sys.modules


def test_what_a_module_holds_that_is_loaded_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each rank starts with what the module held when it had been loaded, and so ends the process."""
    (tmp_path / "own_state_late.py").write_text("NAMES = ['of all']\nCOUNT = 1\nHELD = [NAMES]\n")
    monkeypatch.syspath_prepend(tmp_path)
    rows = (Own("own_state_late", ("NAMES", "COUNT")),)
    monkeypatch.setattr("polyrank.rank_threads.own_state.OWN_STATE", rows)

    def program() -> tuple[list[object], int]:
        import own_state_late  # by the first rank

        dist.barrier()
        own_state_late.NAMES.append(dist.get_rank())
        own_state_late.COUNT += dist.get_rank()
        dist.barrier()
        return list(own_state_late.HELD[0]), own_state_late.COUNT

    try:
        assert polyrank.run_ranks(program, 3) == [(["of all", rank], 1 + rank) for rank in range(3)]
        late = sys.modules["own_state_late"]
        assert (late.NAMES, late.COUNT) == (["of all"], 1)
    finally:
        sys.modules.pop("own_state_late", None)


def test_entries_of_each_kind_of_container(monkeypatch: pytest.MonkeyPatch) -> None:
    containers: dict[str, dict[object, int] | list[int] | set[int]] = {
        "dict": {"b": 1, "a": 2},
        "ordered": OrderedDict([("b", 1), ("a", 2)]),
        "default": defaultdict(int, b=1),
        "list": [1, 2],
        "set": {1, 2},
    }
    module = ModuleType("own_state_kinds")
    vars(module).update(containers)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    rows = (Own(module.__name__, tuple(containers)),)
    monkeypatch.setattr("polyrank.rank_threads.own_state.OWN_STATE", rows)
    expected = copy.deepcopy(containers)

    def change(containers: dict[str, Any], rank: int) -> None:
        containers["dict"][rank] = rank
        containers["ordered"].move_to_end("b")
        containers["default"][rank] += rank
        if rank == 1:
            containers["list"].clear()
        else:
            containers["list"].insert(0, rank)
        containers["set"].symmetric_difference_update({rank})

    def program() -> list[str]:
        for _ in range(2):
            change(containers, dist.get_rank())
            dist.barrier()
        return [repr(container) for container in containers.values()]

    for rank, found in enumerate(polyrank.run_ranks(program, 3)):
        own = copy.deepcopy(expected)
        change(own, rank)
        change(own, rank)
        assert found == [repr(container) for container in own.values()]
    assert repr(containers) == repr(expected)


def test_what_a_rank_patches_is_its_own() -> None:
    def program() -> tuple[int, bool, bool]:
        rank = dist.get_rank()
        if rank == 1:
            math.pi = 3  # type: ignore[misc,assignment]
            torch.nn.ReLU.rank = rank  # type: ignore[attr-defined]
            del torch.nn.Identity.forward
        dist.barrier()
        return int(math.pi), hasattr(torch.nn.ReLU, "rank"), "forward" in vars(torch.nn.Identity)

    pi, forward = math.pi, torch.nn.Identity.forward
    assert polyrank.run_ranks(program, 3) == [(3, False, True), (3, True, False), (3, False, True)]
    assert math.pi == pi
    assert torch.nn.Identity.forward is forward
    assert not hasattr(torch.nn.ReLU, "rank")


def test_derived_classes_may_set_attributes_in_their_own_way_meanwhile() -> None:
    def program() -> list[int]:
        class Meta(type):
            def __setattr__(cls, name: str, value: object) -> None:
                super().__setattr__(name, value)

        class Module(ModuleType):
            def __setattr__(self, name: str, value: object) -> None:
                super().__setattr__(name, value)

        owner: Any = Meta("Owner", (), {})
        module: Any = Module("a_module")
        owner.number = module.number = dist.get_rank()
        dist.barrier()
        return [owner.number, module.number]

    assert polyrank.run_ranks(program, 2) == [[0, 0], [1, 1]]


def test_ranks_make_an_operator_with_one_schema() -> None:
    def program(of_rank: bool) -> torch.Tensor:
        rank = dist.get_rank()
        argument = f"int number_{rank}" if of_rank else "int number"
        library = torch.library.Library("polyrank_test_schemas", "FRAGMENT")
        library.define(f"plus(Tensor x, {argument}) -> Tensor")
        library.impl("plus", lambda x, number: x + number * rank, "CPU")
        dist.barrier()
        if rank == 1:
            library._destroy()  # the others' stays
        dist.barrier()
        if rank == 1:
            with pytest.raises(
                NotImplementedError, match=r"CPU of .*::plus is not registered on rank 1"
            ):
                torch.ops.polyrank_test_schemas.plus(torch.ones(1), 2)
            return torch.zeros(1)
        return torch.ops.polyrank_test_schemas.plus(torch.ones(1), 2)

    assert polyrank.run_ranks(program, 3, False) == [1, 0, 5]
    assert not hasattr(torch.ops.polyrank_test_schemas, "plus")
    with pytest.raises(polyrank.RanksFailedError) as failed:
        polyrank.run_ranks(program, 2, True)
    assert isinstance(failed.value.exceptions[0], polyrank.UsageError)
    assert "ranks make the operator polyrank_test_schemas::plus with schemas" in str(failed.value)


def test_nothing_of_torch_keeps_what_ranks_made() -> None:
    made: list[weakref.ref[Any]] = []

    def program() -> None:
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
        x = distribute_tensor(torch.arange(16.0).view(4, 4), mesh, [Shard(0), Shard(1)])
        (x + 1).redistribute(placements=[Shard(1), Shard(0)]).full_tensor()
        made.extend(weakref.ref(thing) for thing in (mesh, mesh.get_group("tp"), dist.group.WORLD))

    polyrank.run_ranks(program, 4)  # PyTorch keeps one group, the first that a DTensor uses
    made.clear()
    polyrank.run_ranks(program, 4)
    gc.collect()
    assert len(made) == 12
    assert [ref() for ref in made] == [None] * 12


def test_threads_that_are_no_ranks_have_the_groups_of_the_process() -> None:
    world = distributed_c10d._world
    before = world.group_count
    asked, answered = threading.Event(), threading.Event()
    seen = []

    def look() -> None:
        asked.wait()
        seen.append(dist.is_initialized())
        distributed_c10d._world.group_count = before + 1
        answered.set()

    def program() -> tuple[bool, int]:
        asked.set()
        answered.wait()
        return dist.is_initialized(), distributed_c10d._world.group_count

    stranger = threading.Thread(target=look)
    stranger.start()
    try:
        results = polyrank.run_ranks(program, 2)
        assert (distributed_c10d._world, world.group_count) == (world, before + 1)
    finally:
        world.group_count = before
        stranger.join()
    assert seen == [False]
    assert [is_there for is_there, _ in results] == [True] * 2
    assert results[0][1] == results[1][1]


def test_many_turns_keep_state_apart_whatever_the_order() -> None:
    def program() -> list[float]:
        rank = dist.get_rank()
        stream = random.Random(rank)
        random.seed(rank)
        differences = []
        for _ in range(20):
            dist.all_reduce(torch.ones(1))
            differences.append(abs(random.random() - stream.random()))
        return differences

    for seed in range(3):
        results = polyrank.run_ranks(program, 4, schedule="random", seed=seed)
        assert results == [[0.0] * 20] * 4


def test_a_mesh_equals_meshes_of_its_rank_alone() -> None:
    def program() -> tuple[DeviceMesh, bool, bool]:
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("a", "b"))
        sent = [pickle.dumps(mesh)]
        dist.broadcast_object_list(sent, src=3)
        loaded = pickle.loads(sent[0])
        again = init_device_mesh("cpu", (2, 2), mesh_dim_names=("a", "b"))
        return mesh, mesh == again and hash(mesh) == hash(again), mesh == loaded

    first, *others = polyrank.run_ranks(program, 4)
    meshes = [first[0], *(mesh for mesh, _, _ in others)]
    assert len(set(meshes)) == 4
    assert all(equal and loaded for _, equal, loaded in (first, *others))


class Pickled:
    """What each rank pickles as it says."""


def test_a_rank_says_for_itself_how_objects_are_pickled() -> None:
    def program() -> tuple[Any, bool]:
        rank = dist.get_rank()
        before = Pickled in copyreg.dispatch_table
        copyreg.pickle(Pickled, lambda _: (int, (rank,)))
        dist.barrier()
        return pickle.loads(pickle.dumps(Pickled())), before

    assert polyrank.run_ranks(program, 3) == [(0, False), (1, False), (2, False)]
    assert Pickled not in copyreg.dispatch_table


def test_the_environment_in_bytes_is_that_in_text() -> None:
    def program() -> tuple[bytes, str]:
        rank = dist.get_rank()
        os.environb[b"POLYRANK_IN_BYTES"] = str(rank).encode()
        os.environ["POLYRANK_IN_TEXT"] = str(rank)
        dist.barrier()
        return os.environb[b"POLYRANK_IN_TEXT"], os.environ["POLYRANK_IN_BYTES"]

    assert polyrank.run_ranks(program, 3) == [(b"0", "0"), (b"1", "1"), (b"2", "2")]
    assert b"POLYRANK_IN_BYTES" not in os.environb
    assert os.environb._data is os.environ._data  # type: ignore[attr-defined]
