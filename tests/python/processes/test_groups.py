"""Process groups of ranks that are processes: any backend's name, any numbering, any store."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import CollectiveMismatchError, RanksFailedError
from torch._C._distributed_c10d import FakeProcessGroup
from torch.distributed import distributed_c10d


def run(function: Callable[..., Any], world_size: int = 4) -> list[Any]:
    return polyrank.run_ranks(function, world_size, world="processes")


def anew(*args: Any, **options: Any) -> int:
    """Make the default group as a script does; the rank in the run."""
    rank = int(os.environ["RANK"])
    dist.destroy_process_group()
    dist.init_process_group(*args, **options)
    return rank


def total(group: Any = None) -> float:
    x = torch.tensor([float(os.environ["RANK"]) + 1])
    dist.all_reduce(x, group=group)
    return x.item()


@pytest.mark.parametrize(
    "backend", ["gloo", "nccl", None, "cpu:gloo,cuda:nccl", "ucc", "mpi", "xccl"]
)
def test_any_backend_is_ours_and_keeps_its_name(backend: str | None) -> None:
    def program() -> tuple[float, str, str]:
        anew(backend)
        group = distributed_c10d._get_default_group()
        used = group._get_backend(torch.device("cpu"))
        return total(), dist.get_backend(), type(used).__name__

    name = "undefined" if backend is None else backend
    assert run(program) == [(10.0, name, "ProcessesBackend")] * 4


def test_subgroups_of_any_backend() -> None:
    def program() -> list[Any]:
        rank = dist.get_rank()
        pair = dist.new_group([rank // 2 * 2, rank // 2 * 2 + 1], use_local_synchronization=True)
        gloo = dist.new_group([1, 3], backend="gloo")
        split = dist.split_group(split_ranks=[[0, 3], [1, 2]])
        mesh = dist.device_mesh.init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
        subgroup, _ = dist.new_subgroups(2)
        return [
            total(pair),
            total(gloo) if rank in (1, 3) else None,
            dist.get_backend(gloo) if rank in (1, 3) else None,
            total(split),
            total(mesh.get_group("dp")),
            total(mesh.get_group("tp")),
            total(subgroup),
        ]

    assert run(program) == [
        [3.0, None, None, 5.0, 4.0, 3.0, 3.0],
        [3.0, 6.0, "gloo", 5.0, 6.0, 3.0, 3.0],
        [7.0, None, None, 5.0, 4.0, 7.0, 7.0],
        [7.0, 6.0, "gloo", 5.0, 6.0, 7.0, 7.0],
    ]


def test_a_world_of_another_numbering() -> None:
    def program() -> tuple[int, list[Any]]:
        rank = int(os.environ["RANK"])
        anew("gloo", rank=3 - rank, world_size=4)
        x = torch.tensor([float(rank)])
        dist.broadcast(x, src=0)
        gathered: list[Any] = [None] * 4
        dist.all_gather_object(gathered, rank)
        half = dist.new_group([0, 1])
        return int(x), [*gathered, total(half) if rank > 1 else None]

    assert run(program) == [(3, [3, 2, 1, 0, 7.0 if rank > 1 else None]) for rank in range(4)]


def test_worlds_of_some_ranks() -> None:
    def program() -> float:
        rank = int(os.environ["RANK"])
        os.environ["MASTER_PORT"] = str(29500 + rank // 2)
        anew("gloo", rank=rank % 2, world_size=2)
        return total(dist.new_group([0, 1]))

    assert run(program) == [3.0, 3.0, 7.0, 7.0]


def test_one_world_after_the_other() -> None:
    def program() -> list[float]:
        sums = []
        for _ in range(3):
            anew("gloo")
            sums += [total(), total(dist.new_group([0, 1, 2, 3]))]
        return sums

    assert run(program) == [[10.0] * 6] * 4


def test_stores_of_the_program(tmp_path: Path) -> None:
    def program() -> list[Any]:
        rank = dist.get_rank()
        port = int(os.environ["MASTER_PORT"])
        tcp = dist.TCPStore("127.0.0.1", port, 4, rank == 0, timeout=timedelta(seconds=60))
        tcp.set(f"key {rank}", str(rank * 2))
        got = tcp.get(f"key {(rank + 1) % 4}").decode()
        anew("gloo", init_method=f"file://{tmp_path}/store", rank=rank, world_size=4)
        by_file = total()
        anew("gloo", store=tcp, rank=rank, world_size=4)
        by_store = total()
        default = distributed_c10d._get_default_store()
        while default.add("here", 0 if rank else 1) < 1:  # polls
            pass
        dist.barrier()
        return [got, by_file, by_store, type(tcp).__name__]

    assert run(program) == [[str((rank + 1) % 4 * 2), 10.0, 10.0, "TCPStore"] for rank in range(4)]


def test_backends_of_the_program_are_its_own() -> None:
    def program() -> tuple[str, float]:
        def make(_store: Any, rank: int, size: int, _timeout: Any) -> Any:
            return FakeProcessGroup._create_internal(rank, size)

        dist.Backend.register_backend("mine", make, devices=["cpu"])
        group = dist.new_group([0, 1, 2, 3], backend="mine")
        return dist.get_backend(group), total(group)

    assert run(program) == [("mine", float(rank + 1)) for rank in range(4)]


def test_debugging_in_detail_takes_no_wrapper() -> None:
    def program() -> float:
        dist.set_debug_level(dist.DebugLevel.DETAIL)
        return total(dist.new_group([0, 1, 2, 3]))

    assert run(program) == [10.0] * 4


def test_a_monitored_barrier_of_gloo() -> None:
    def program() -> None:
        group = dist.new_group([0, 1], backend="gloo")
        dist.monitored_barrier(group)

    run(program, 2)


def test_a_group_that_is_made_otherwise_is_an_error() -> None:
    def program() -> None:
        ranks = [0, 1] if dist.get_rank() == 0 else [1, 2]
        dist.new_group(ranks)

    with pytest.raises(RanksFailedError) as caught:
        run(program, 3)
    assert isinstance(caught.value.exceptions[0], polyrank.CollectiveMismatchError)


def test_a_child_of_a_rank_is_none() -> None:
    def program() -> float:
        if os.fork() == 0:
            code = 1
            try:
                store = dist.HashStore()
                dist.destroy_process_group()
                dist.init_process_group("gloo", store=store, rank=0, world_size=1)
                group = distributed_c10d._get_default_group()
                used = group._get_backend(torch.device("cpu"))
                code = 0 if type(used).__name__ == "ProcessGroupGloo" else 2
            finally:
                os._exit(code)
        _, status = os.wait()
        assert status == 0, status
        return total()

    assert run(program, 2) == [3.0] * 2


@pytest.mark.parametrize(
    ("backend", "shown_as"), [("gloo", "gloo"), (None, "gloo"), ("nccl", "nccl")]
)
def test_profilers_show_launches_as_those_of_the_named_backend(
    backend: str | None, shown_as: str
) -> None:
    def program() -> list[tuple[str, list[list[int]]]]:
        anew(backend)
        x = torch.ones(2, 3)
        with torch.profiler.profile(record_shapes=True) as profiled:
            dist.all_reduce(x)
            dist.broadcast(x, src=1)
            dist.all_reduce(x, async_op=True).wait()
        return [
            (event.name, event.input_shapes)
            for event in profiled.events()
            if event.name.startswith(f"{shown_as}:")
        ]

    names = ["all_reduce", "broadcast", "all_reduce"]
    assert run(program, 2) == [[(f"{shown_as}:{name}", [[2, 3]]) for name in names]] * 2


def test_an_error_of_a_group_called_nccl_is_told() -> None:
    def program() -> None:
        anew("nccl")
        dist.all_reduce(torch.ones(int(os.environ["RANK"]) + 1))

    with pytest.raises(RanksFailedError) as failed:
        run(program, 2)
    assert {type(error) for error in failed.value.exceptions} == {CollectiveMismatchError}


def test_threads_of_a_rank_launch_side_by_side() -> None:
    def program() -> list[float]:
        groups = [dist.new_group() for _ in range(4)]
        sums = [0.0] * 4

        def launch(index: int) -> None:
            for _ in range(50):
                sums[index] += total(groups[index])

        threads = [threading.Thread(target=launch, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        mine = sum(total() for _ in range(50))
        for thread in threads:
            thread.join()
        return [mine, *sums]

    assert run(program, 3) == [[300.0] * 5] * 3


@pytest.mark.parametrize("world", ["threads", "processes"])
@pytest.mark.parametrize("dtype", [torch.int16, torch.uint16, torch.uint32, torch.uint64])
def test_messages_are_of_any_dtype(world: str, dtype: torch.dtype) -> None:
    def program() -> list[int]:
        number = torch.tensor([1, 2, 250], dtype=dtype)
        if dist.get_rank() == 0:
            dist.send(number, 1)
        else:
            number = torch.zeros(3, dtype=dtype)
            dist.recv(number, 0)
        return number.tolist()

    assert polyrank.run_ranks(program, 2, world=world) == [[1, 2, 250]] * 2


@pytest.mark.parametrize("world", ["threads", "processes"])
def test_sparse_tensors_are_summed(world: str) -> None:
    def program() -> tuple[list[list[float]], bool]:
        dense = torch.zeros(3, 2)
        dense[dist.get_rank()] = dist.get_rank() + 1
        dense[2] = 1
        sparse = dense.to_sparse()
        dist.all_reduce(sparse)
        return sparse.to_dense().tolist(), sparse.is_coalesced()

    expected = [[1.0, 1.0], [2.0, 2.0], [2.0, 2.0]], True  # as gloo's
    assert polyrank.run_ranks(program, 2, world=world) == [expected] * 2
