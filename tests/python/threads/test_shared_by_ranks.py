"""What a process has once though its ranks are threads: the profiler, the backends that have names."""

from __future__ import annotations

from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from torch.profiler import ProfilerActivity


def test_one_rank_profiles_at_a_time() -> None:
    def program() -> list[int]:
        rank = dist.get_rank()
        counts = []
        for turn in range(2):
            if rank == turn:
                with torch.profiler.profile(activities=[ProfilerActivity.CPU]) as profiler:
                    torch.ones(4, 4) @ torch.ones(4, 4)
                    dist.barrier()
                counts.append(sum(event.name == "aten::mm" for event in profiler.events()))
            else:
                torch.ones(4, 4) @ torch.ones(4, 4)
                dist.barrier()
            dist.barrier()
        return counts

    assert polyrank.run_ranks(program, 2) == [[1], [1]]


def test_profilers_of_two_ranks_at_once_are_refused() -> None:
    def program() -> None:
        with torch.profiler.profile(activities=[ProfilerActivity.CPU]):
            dist.barrier()

    for _ in range(2):  # the first run leaves nothing
        with pytest.raises(polyrank.RanksFailedError) as caught:
            polyrank.run_ranks(program, 2)
        error = caught.value.exceptions[0]
        assert isinstance(error, polyrank.UnsupportedOpError)
        assert "rank 1 starts a profiler while that of rank 0 runs" in str(error)


@pytest.mark.parametrize("world", ["threads", "processes"])
def test_a_group_answers_for_the_backend_that_the_program_names(world: str) -> None:
    def told(group: Any) -> tuple[str, str, int, list[str]]:
        dist.barrier(group)
        return (
            dist.get_backend(group),
            group.name(),
            group._get_sequence_number_for_group(),
            sorted(device.type for device in group._device_types),
        )

    def program() -> list[Any]:
        dist.init_process_group("gloo")
        answers = [told(dist.group.WORLD), told(dist.new_group([0, 1]))]
        mixed = dist.new_group([0, 1], backend="cpu:gloo,cuda:gloo")
        answers.append(told(mixed))
        dist.destroy_process_group()
        dist.init_process_group()
        answers.append(told(dist.group.WORLD))
        return answers

    devices = ["cpu", "cuda"]
    assert polyrank.run_ranks(program, 2, world=world) == 2 * [
        [
            ("gloo", "gloo", 1, devices),
            ("gloo", "gloo", 1, devices),
            ("cpu:gloo,cuda:gloo", "gloo", 1, devices),
            ("undefined", "gloo", 1, devices),
        ]
    ]


def test_a_backend_that_a_shared_module_registers_in_a_rank_is_there_for_all() -> None:
    def make(*_: Any) -> Any:
        raise AssertionError("groups are of the threads world")

    def program() -> bool:
        if dist.get_rank() == 1:  # as a module that is imported there first
            dist.Backend.register_backend("of_rank_1", make, devices=["cpu"])
        dist.barrier()
        return "of_rank_1" in dist.Backend.backend_list

    try:
        assert polyrank.run_ranks(program, 2) == [True, True]
        assert "OF_RANK_1" in dist.Backend._plugins
    finally:
        dist.Backend.backend_list.remove("of_rank_1")
        for table in (dist.Backend.backend_capability, dist.Backend.backend_type_map):
            table.pop("of_rank_1", None)
        dist.Backend._plugins.pop("OF_RANK_1", None)
        del dist.Backend.OF_RANK_1
