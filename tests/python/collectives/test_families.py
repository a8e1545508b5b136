"""Which groups act when the program names one."""

from __future__ import annotations

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import _C
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

pytestmark = pytest.mark.usefixtures("world4")


def family(group: dist.ProcessGroup) -> list[list[int]]:
    return _C.group_family(group.group_name, 4)


def summed(group: dist.ProcessGroup) -> list[float]:
    """1, 2, 4, 8 on the ranks, after an all_reduce."""
    t = polyrank.rank_map(lambda rank: torch.tensor(2.0**rank))
    dist.all_reduce(t, group=group)
    return [t.on_rank(rank).item() for rank in range(4)]


def test_world() -> None:
    assert family(dist.group.WORLD) == [[0, 1, 2, 3]]
    assert summed(dist.group.WORLD) == [15, 15, 15, 15]


def test_mesh_dimension() -> None:
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    assert family(mesh.get_group("dp")) == [[0, 2], [1, 3]]
    assert family(mesh.get_group("tp")) == [[0, 1], [2, 3]]
    assert summed(mesh.get_group("dp")) == [5, 10, 5, 10]


def test_mesh_of_ranks_in_any_order() -> None:
    mesh = DeviceMesh("cpu", [[3, 0], [1, 2]])
    assert family(mesh.get_group(1)) == [[0, 3], [1, 2]]
    assert summed(mesh.get_group(0)) == [5, 10, 5, 10]


def test_mesh_over_some_ranks() -> None:
    mesh = DeviceMesh("cpu", [[0, 1]])
    assert summed(mesh.get_group(1)) == [3, 3, 4, 8]


def test_mesh_without_rank_0() -> None:
    mesh = DeviceMesh("cpu", [[2, 3]])
    assert summed(mesh.get_group(1)) == [1, 2, 12, 12]


def test_flattened_and_sliced_mesh() -> None:
    mesh = init_device_mesh("cpu", (2, 2, 1), mesh_dim_names=("a", "b", "c"))
    assert family(mesh["a", "b"]._flatten("ab").get_group()) == [[0, 1, 2, 3]]
    assert family(mesh["a", "c"].get_group("a")) == [[0, 2], [1, 3]]


def test_new_group_alone_leaves_other_ranks_alone() -> None:
    group = dist.new_group([0, 1])
    assert family(group) == [[0, 1]]
    assert summed(group) == [3, 3, 4, 8]


def test_new_group_without_rank_0() -> None:
    assert summed(dist.new_group([1, 3])) == [1, 10, 4, 10]


def test_new_groups_that_cover_the_world_stand_alone() -> None:
    """All ranks name the same group, and those that are not in it take no part."""
    groups = [dist.new_group([0, 2]), dist.new_group([1, 3])]
    assert [family(group) for group in groups] == [[[0, 2]], [[1, 3]]]
    assert summed(groups[1]) == [1, 10, 4, 10]


def test_groups_of_torchs_own_code_that_cover_the_world_stand_for_each_other() -> None:
    """It keeps the one that rank 0 is in, for all ranks."""
    made = compile("[dist.new_group([0, 2]), dist.new_group([1, 3])]", torch.__file__, "eval")
    groups = eval(made, {"dist": dist})
    assert family(groups[0]) == family(groups[1]) == [[0, 2], [1, 3]]


def test_new_group_of_ranks_that_a_mesh_also_has_stands_alone() -> None:
    init_device_mesh("cpu", (2, 2))
    assert family(dist.new_group([0, 1])) == [[0, 1]]


def test_unsorted_new_group() -> None:
    group = dist.new_group([3, 1], sort_ranks=False)
    out = torch.zeros(2)
    mine = polyrank.rank_map(lambda rank: torch.tensor([float(rank)]))
    dist.all_gather_into_tensor(out, mine, group=group)
    assert out.on_rank(1).tolist() == [3, 1]
    assert out.on_rank(0).tolist() == [0, 0]


def test_new_subgroups() -> None:
    mine, every = dist.new_subgroups(2)
    assert [family(group) for group in every] == [[[0, 1]], [[2, 3]]]
    assert family(mine) == [[0, 1], [2, 3]]
    assert summed(mine) == [3, 3, 12, 12]
    assert summed(every[1]) == [1, 2, 12, 12]


def test_new_subgroups_of_irregular_ranks() -> None:
    mine, _ = dist.new_subgroups_by_enumeration([[0, 3], [1, 2]])
    assert summed(mine) == [9, 6, 6, 9]


def test_split_group() -> None:
    group = dist.split_group(split_ranks=[[0, 3], [2, 1]])
    assert family(group) == [[0, 3], [2, 1]]
    assert summed(group) == [9, 6, 6, 9]


def test_whether_a_rank_is_in_a_group_differs_between_ranks() -> None:
    none = dist.GroupMember.NON_GROUP_MEMBER
    group = dist.new_group([1, 2])
    for ask in (lambda: group != none, lambda: none == group, lambda: [group].index(none)):
        with pytest.raises(polyrank.DivergenceError, match=r"ranks \[0, 3\] are not"):
            ask()
    assert dist.new_group([3, 1, 0, 2]) != none
    assert dist.new_subgroups(2)[0] != none
    assert none == -100


def test_group_made_before_stands_for_its_pattern() -> None:
    dist.destroy_process_group()
    store = dist.HashStore()
    dist.init_process_group("fake", rank=0, world_size=4, store=store)
    group = dist.new_group([0, 1])
    _C.clear_process_groups()
    assert family(group) == [[0, 1], [2, 3]]


def test_group_ranks() -> None:
    from polyrank.lockstep_world.groups.process_groups import group_rank_of_ranks

    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    ranks = list(range(4))
    assert group_rank_of_ranks(mesh.get_group("dp"), ranks) == {0: 0, 1: 0, 2: 1, 3: 1}
    alone = dist.new_group([3, 1], sort_ranks=False)
    assert group_rank_of_ranks(alone, ranks) == {0: -1, 1: 1, 2: -1, 3: 0}


def test_tensors_on_some_ranks_run_the_groups_within_them() -> None:
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    mode = polyrank.local_tensor_mode()
    assert mode is not None
    with mode.disable():
        t = polyrank.LocalTensor({rank: torch.tensor(2.0**rank) for rank in range(3)})
    dist.all_reduce(t, group=mesh.get_group("tp"))
    assert [t.on_rank(rank).item() for rank in range(3)] == [3, 3, 4]
    with pytest.raises(polyrank.CollectiveError, match="none of its family's groups"):
        torch.ops._c10d_functional.all_gather_into_tensor(t, 4, dist.group.WORLD.group_name)
