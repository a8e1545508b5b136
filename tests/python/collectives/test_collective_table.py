"""The table of collectives against what PyTorch registers: no operator is missing, no column lies."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed._symmetric_memory
import torch.distributed.tensor
from polyrank import _C

NAMESPACES = ("c10d", "_c10d_functional", "_c10d_functional_autograd", "_dtensor", "symm_mem")
TABLE = {row["op_name"]: row for row in _C.collective_table()}
ROLES = (
    "inputs",
    "outputs",
    "group",
    "group_size",
    "root",
    "reduce_op",
    "output_split_sizes",
    "input_split_sizes",
    "gather_dim",
    "shard_dim",
    "async_op",
    "tag",
    "operations",
    "sparse_indices",
)
# Arguments that only a real backend needs.
NO_ROLE = {"timeout", "device_ids", "wait_all_ranks", "root_tensor"}
NAMES_OF_ROLE = {
    "group": {"process_group", "group_name"},
    "group_size": {"group_size"},
    "root": {"root_rank", "src", "dst", "peer_list", "root"},
    "reduce_op": {"reduce_op"},
    "output_split_sizes": {"output_split_sizes"},
    "input_split_sizes": {"input_split_sizes"},
    "gather_dim": {"gather_dim"},
    "shard_dim": {"shard_dim"},
    "async_op": {"async_op"},
    "tag": {"tag", "tag_list"},
    "operations": {"op_list"},
    "sparse_indices": {"sparse_indices"},
}
TYPE_OF_PACKING = {
    "tensor": "Tensor",
    "one": "List[Tensor]",
    "per_member": "List[Tensor]",
    "coalesced": "List[Tensor]",
    "one_per_member": "List[List[Tensor]]",
    "member_by_tensor": "List[List[Tensor]]",
}


# Operators on symmetric memory that are not in the table, and why.
NO_COLLECTIVES = {
    "nccl_reduce_scatter_offset": "its pieces are in lists of offsets and ranks",
    "fused_all_gather_matmul": "computes too",
    "fused_all_gather_scaled_matmul": "computes too",
    "fused_matmul_reduce_scatter": "computes too",
    "fused_scaled_matmul_reduce_scatter": "computes too",
    "_async_input_mm": "computes too",
    "get_remote_tensors": "gives the others' memory itself",
    "_barrier": "of a handle",
    "_rendezvous": "makes a handle",
    "memset32_": "of a rank alone",
    "stream_write_value32_": "of a rank alone",
    "memcpy_to_multicast_": "writes the others' memory",
    "nccl_get": "acts on one side alone",
    "nccl_get_out": "acts on one side alone",
    "nccl_put": "acts on one side alone",
    "nccl_put_signal": "acts on one side alone",
    "nccl_put_with_signal": "acts on one side alone",
    "nccl_wait_for_signal": "acts on one side alone",
    "nccl_wait_signal": "acts on one side alone",
    "nvshmem_get": "acts on one side alone",
    "nvshmem_get_out": "acts on one side alone",
    "nvshmem_put": "acts on one side alone",
    "nvshmem_put_with_signal": "acts on one side alone",
    "nvshmem_wait_for_signal": "acts on one side alone",
}


# Rows that not every supported torch has an operator for.
NEWER = {
    "_c10d_functional::wait_tensors",
    "c10d::gather_into_tensor_",
    "symm_mem::_low_contention_all_gather_ce_multicast",
    "symm_mem::_low_contention_all_gather_ce_multicast_out",
    "symm_mem::nccl_all_to_all_nd",
}


def registered() -> list[str]:
    names = torch._C._dispatch_get_all_op_names()
    left_out = {f"symm_mem::{name}" for name in NO_COLLECTIVES}
    return sorted(
        name for name in names if name.split("::")[0] in NAMESPACES and name not in left_out
    )


ROWS = [name for name in TABLE if name in registered()]


def schema_of(op_name: str) -> Any:
    return torch._C._get_schema(op_name, "")


def test_every_registered_operator_is_in_the_table() -> None:
    assert set(registered()) <= set(TABLE)
    assert set(TABLE) - set(registered()) <= NEWER


@pytest.mark.parametrize("op_name", ROWS)
def test_columns_agree_with_the_schema(op_name: str) -> None:
    row, arguments = TABLE[op_name], schema_of(op_name).arguments
    for role, names in NAMES_OF_ROLE.items():
        if row[role] is not None:
            assert arguments[row[role]].name in names, role
    for role, packing in (("inputs", "input_packing"), ("outputs", "output_packing")):
        if row[role] is not None:
            assert str(arguments[row[role]].type) == TYPE_OF_PACKING[row[packing]], role


@pytest.mark.parametrize("op_name", [name for name in ROWS if TABLE[name]["lockstep"]])
def test_every_argument_has_a_role_or_is_known_to_have_none(op_name: str) -> None:
    row = TABLE[op_name]
    positions = {row[role] for role in ROLES}
    for i, argument in enumerate(schema_of(op_name).arguments):
        is_token = row["kind"].endswith("barrier") and argument.name == "tensor"
        assert i in positions or argument.name in NO_ROLE or is_token, argument.name


@pytest.mark.parametrize("op_name", ROWS)
def test_returns_agree_with_the_schema(op_name: str) -> None:
    row = TABLE[op_name]
    if row["kind"] == "not_a_collective":
        return
    returned = [str(result.type) for result in schema_of(op_name).returns]
    work = ["__torch__.torch.classes.c10d.Work"]
    tensors = "output_packing" if row["destination"] == "outputs" else "input_packing"
    expected: dict[str, list[str]] = {
        "nothing": [],
        "work": work,
        "tensors": [TYPE_OF_PACKING.get(row[tensors], "")],
        "tensors_and_work": [TYPE_OF_PACKING.get(row[tensors], ""), *work],
    }
    assert returned == expected[row["returns"]]


# Operators that the lockstep world does not launch as collectives, and why.
NOT_LAUNCHED = {
    "c10d::recv_any_source_": "which message comes first is not determined by the program",
    "c10d::check_for_nan": "each rank looks at its own tensor",
    "_c10d_functional::_wrap_tensor_autograd": "results are complete: nothing is left to wait for",
    "_dtensor::mesh_get_process_group": "gives a group, and moves no tensor",
}
ON_SYMMETRIC_MEMORY = {
    "one_shot_all_reduce_copy": "writes the symmetric buffer too",
    "one_shot_all_reduce_copy_out": "writes the symmetric buffer too",
    "two_shot_all_reduce_out": "leaves partial sums in its input",
    "reduce_scatter_out": "scatters the last dimension if told to",
    "multi_root_tile_reduce": "has a root for each of its tensors",
    "multimem_one_shot_reduce_out": "writes an output on the root alone",
    "tile_reduce": "writes an output on the root alone",
    "nccl_all_to_all_nd": "cuts any dimension",
    "all_to_all_vdev": "its split sizes are in a tensor",
    "all_to_all_vdev_2d": "its split sizes are in a tensor",
    "all_to_all_vdev_2d_offset": "its split sizes are in a tensor",
}
NOT_LAUNCHED |= {f"symm_mem::{name}": why for name, why in ON_SYMMETRIC_MEMORY.items()}


def test_lockstep_runs_every_collective_but_those_with_a_reason() -> None:
    assert {name for name, row in TABLE.items() if not row["lockstep"]} == set(NOT_LAUNCHED)
