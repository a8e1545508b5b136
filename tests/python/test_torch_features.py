"""What is asked of the installed torch, asked again by another way."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest
import torch.distributed as dist
from polyrank.rank_threads.rank_globals import new_groups
from polyrank.torch_features import (
    MESH_ORDER,
    OF_NO_PART,
    is_of_program,
    simulator_patches_get_rank,
)
from torch.distributed import _local_tensor, distributed_c10d
from torch.distributed.device_mesh import DeviceMesh


def test_split_group_gives_what_its_source_says() -> None:
    source = inspect.getsource(distributed_c10d.split_group)
    says = "return GroupMember.NON_GROUP_MEMBER" in source
    assert (dist.GroupMember.NON_GROUP_MEMBER if says else None) == OF_NO_PART


def test_meshes_take_the_order_where_they_keep_it() -> None:
    assert bool(MESH_ORDER) == ("_preserve_rank_order" in inspect.getsource(DeviceMesh))


def test_the_simulator_patches_what_its_mode_says() -> None:
    patches = hasattr(_local_tensor.LocalTensorMode, "_patch_dist")
    assert simulator_patches_get_rank() == patches


@pytest.fixture
def registered() -> Iterator[str]:
    """A backend that the program registered."""
    name = "test_features"
    dist.Backend.register_backend(name, lambda *args: None, devices=["cpu"])
    yield name
    del dist.Backend._plugins[name.upper()]
    dist.Backend.backend_list.remove(name)
    delattr(dist.Backend, name.upper())


def test_ranks_that_are_threads_have_all_that_torch_keeps_of_groups() -> None:
    kept = {name for name, of in vars(distributed_c10d._World).items() if isinstance(of, property)}
    assert "pg_map" in kept
    assert kept <= set(new_groups())


def test_backends_of_torch_are_not_the_programs(registered: str) -> None:
    distributed_c10d.BackendConfig(dist.Backend("gloo"))  # registers it, in newer torches
    assert is_of_program(registered)
    assert not is_of_program("gloo")
    assert not is_of_program("no_such")
