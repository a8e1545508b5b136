"""Ranks within groups: rank-dependent for user code, plain ints for torch's own."""

from __future__ import annotations

import ast
from pathlib import Path

import polyrank
import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as checkpoint
from polyrank.lockstep_world.groups.group_ranks import asks_for_the_program
from torch.distributed.checkpoint import HuggingFaceStorageWriter
from torch.distributed.checkpoint._consolidate_hf_safetensors import (
    consolidate_safetensors_files_on_every_rank,
)
from torch.distributed.device_mesh import init_device_mesh

pytestmark = pytest.mark.usefixtures("world4")


def by_rank(value: int | torch.SymInt) -> list[int]:
    if isinstance(value, torch.SymInt):
        return list(value.node._local_ints.values())
    return [value] * 4


def tp() -> dist.ProcessGroup:
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    return mesh.get_group("tp")


def test_rank_of_a_group() -> None:
    assert by_rank(tp().rank()) == [0, 1, 0, 1]
    assert by_rank(dist.group.WORLD.rank()) == [0, 1, 2, 3]
    assert by_rank(dist.new_group([3, 1], sort_ranks=False).rank()) == [-1, 1, -1, 0]


def test_global_rank() -> None:
    group = tp()
    assert by_rank(dist.get_global_rank(group, 1)) == [1, 1, 3, 3]
    assert by_rank(dist.get_global_rank(group, dist.get_rank(group))) == [0, 1, 2, 3]
    assert dist.get_global_rank(dist.group.WORLD, 2) == 2
    with pytest.raises(polyrank.UsageError, match=r"no group rank 2; valid: 0\.\.1"):
        dist.get_global_rank(group, 2)


def test_ranks_of_a_group() -> None:
    group = tp()
    first, second = dist.get_process_group_ranks(group)
    assert by_rank(first) == [0, 0, 2, 2]
    assert by_rank(second) == [1, 1, 3, 3]
    x = torch.ones(1) * dist.get_rank()
    dist.broadcast(x, src=first, group=group)
    assert [x.on_rank(rank).item() for rank in range(4)] == [0, 0, 2, 2]  # type: ignore[attr-defined]
    assert dist.get_process_group_ranks(dist.group.WORLD) == [0, 1, 2, 3]
    assert dist.get_process_group_ranks(dist.new_group([1, 2])) == [1, 2]


def test_group_rank() -> None:
    group = tp()
    assert by_rank(dist.get_group_rank(group, dist.get_rank())) == [0, 1, 0, 1]
    with pytest.raises(
        polyrank.DivergenceError,
        match="on ranks 2-3 there is no such rank, and there is on ranks 0-1",
    ):
        dist.get_group_rank(group, 0)


def test_root_by_its_global_rank() -> None:
    group = tp()
    t = polyrank.rank_map(lambda rank: torch.tensor([float(rank)]))
    dist.broadcast(t, src=dist.get_global_rank(group, 1), group=group)
    assert [t.on_rank(rank).item() for rank in range(4)] == [1, 1, 3, 3]


def test_a_root_that_is_another_member_in_each_group() -> None:
    with pytest.raises(polyrank.DivergenceError, match="broadcast: ranks name different roots"):
        dist.broadcast(torch.ones(1), group=tp(), src=dist.get_rank())
    with pytest.raises(polyrank.DivergenceError, match="ranks name different roots"):
        dist.gather(torch.ones(1), [torch.zeros(1)] * 2, group=tp(), dst=dist.get_rank())


def test_outside_of_a_mode_pytorch_answers() -> None:
    mode, group = polyrank.local_tensor_mode(), tp()
    assert mode is not None
    with mode.disable():
        assert group.rank() == 0
        assert dist.get_global_rank(group, 1) == 1
        assert dist.get_group_rank(group, 1) == 1


# Files of torch.distributed that ask for a rank and get rank 0's in lockstep, since they compute with no rank's own,
# or polyrank replaces what does. One that is not here acts by its rank: else all ranks would do as rank 0, silently.
TOLD_RANK_0S = {
    *(
        "__init__.py",
        "_functional_collectives.py",
        "_local_tensor/__init__.py",
        "_state_dict_utils.py",
    ),
    *(
        "_symmetric_memory/__init__.py",
        "_symmetric_memory/_nvshmem_triton.py",
        "algorithms/join.py",
    ),
    *(
        "c10d_logger.py",
        "device_mesh.py",
        "distributed_c10d.py",
        "nn/functional.py",
        "debug/__init__.py",
    ),
    *("checkpoint/_async_process_executor.py", "checkpoint/_experimental/builder.py"),
    *(
        "checkpoint/_sharded_tensor_utils.py",
        "checkpoint/format_utils.py",
        "checkpoint/optimizer.py",
    ),
    *("checkpoint/state_dict.py", "checkpoint/utils.py"),
    *("fsdp/_fully_shard/_fsdp_collectives.py", "fsdp/_fully_shard/_fsdp_common.py"),
    *("tensor/_collective_utils.py", "tensor/_random.py", "tensor/debug/_visualize_sharding.py"),
}
RANKS_OF = {"get_rank", "get_local_rank", "rank", "get_group_rank", "get_global_rank"}


def calls_in(file: Path) -> set[str]:
    """The names of all functions and methods that it calls."""
    called = [
        node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)
    ]
    return {one.attr for one in called if isinstance(one, ast.Attribute)} | {
        one.id for one in called if isinstance(one, ast.Name)
    }


def test_no_other_file_of_torch_takes_rank_0s_answer_for_its_own() -> None:
    folder = Path(dist.__file__).parent
    asking = [file for file in folder.rglob("*.py") if calls_in(file) & RANKS_OF]
    told = {
        str(file.relative_to(folder))
        for file in asking
        if not asks_for_the_program(str(file), is_installed=True)
    }
    assert len(asking) > len(told) > 10
    assert told <= TOLD_RANK_0S


@pytest.mark.usefixtures("installed")
def test_files_that_ranks_share_out_are_no_single_ranks(tmp_path: Path) -> None:
    shards = HuggingFaceStorageWriter(str(tmp_path / "shards"), save_distributed=True)
    tensors = {f"weight {index}": torch.ones(2) * index for index in range(4)}
    checkpoint.save(tensors, storage_writer=shards)
    indices = {name: index + 1 for index, name in enumerate(tensors)}
    with pytest.raises(polyrank.DivergenceError):
        consolidate_safetensors_files_on_every_rank(
            str(tmp_path / "shards"), str(tmp_path / "whole"), indices
        )
