"""Which names of PyTorch's simulator stand for what.

Each name that its two modules define is in exactly one table: ours takes its place, or it stays
because it works on our classes as it is. tests/python/install compares with the installed torch.
"""

from __future__ import annotations

from typing import Any

from polyrank import fake
from polyrank.install import collectives, rank_functions_of_torch, rank_states
from polyrank.install.device_mesh import LocalDeviceMesh
from polyrank.install.mode import LocalTensorMode
from polyrank.lockstep_world.local_runner_mode import LocalRunnerMode
from polyrank.numbers.local_int_node import LocalIntNode
from polyrank.replacing.row import Row
from polyrank.tensor import rank_functions
from polyrank.tensor.active_modes import (
    active_modes,
    enabled_local_tensor_mode,
    local_tensor_mode,
    maybe_disable_local_tensor_mode,
    process_modes,
)
from polyrank.tensor.local_tensor import LocalTensor

MODULE = "torch.distributed._local_tensor"
C10D_MODULE = "torch.distributed._local_tensor._c10d"
FAKE_MODULE = "torch.testing._internal.distributed.fake_pg"

# --- Ours ---------------------------------------------------------------------------------------

OURS: dict[str, Any] = {
    "LocalIntNode": LocalIntNode,
    "LocalRunnerMode": LocalRunnerMode,
    "LocalTensor": LocalTensor,
    "LocalTensorMode": LocalTensorMode,
    "_LocalDeviceHandle": rank_states.LocalDeviceHandle,
    "_LocalDeviceMesh": LocalDeviceMesh,
    "_LocalRandom": rank_states.LocalRandom,
    "_PROCESS_LOCAL_TENSOR_MODE": process_modes,
    "_for_each_rank_run_func": rank_functions_of_torch.for_each_rank_run_func,
    "_get_rng_state": rank_states.get_rng_state,
    "_set_rng_state": rank_states.set_rng_state,
    "enabled_local_tensor_mode": enabled_local_tensor_mode,
    "get_generator_seed_for_device_type": rank_states.get_generator_seed_for_device_type,
    "get_local_tensor_mode_list": active_modes,
    "local_tensor_mode": local_tensor_mode,
    "maybe_disable_local_tensor_mode": maybe_disable_local_tensor_mode,
    "maybe_run_for_local_tensor": rank_functions.maybe_run_for_local_tensor,
    "rank_map": rank_functions.rank_map,
    "reconcile_args": rank_functions.reconcile_args,
    "tensor_map": rank_functions.tensor_map,
}

# Names that PyTorch had in 2.9 and 2.10 and that other libraries still import.
OLDER: dict[str, Any] = {
    "_collect_cuda_rng_states": rank_states.collect_cuda_rng_states,
    "_set_cuda_rng_states": rank_states.set_cuda_rng_states,
}

C10D_OURS: dict[str, Any] = collectives.LOCAL_COLLECTIVES

# Its backend "fake" looks FakeProcessGroup up when it makes a group.
FAKE_OURS: dict[str, Any] = {
    "FakeProcessGroup": fake.FakeProcessGroup,
    "FakeStore": fake.FakeStore,
    "_create_fake_pg": fake._create_fake_pg,
}

_WHY = "the simulator's name stands for ours"


def _rows(module: str, ours: dict[str, Any], *, are_added: bool = False) -> list[Row]:
    return [
        Row(module, name, lambda _, own=own: own, _WHY, is_added=are_added)  # type: ignore[misc]
        for name, own in ours.items()
    ]


ROWS = (
    *_rows(MODULE, OURS),
    *_rows(MODULE, OLDER, are_added=True),
    *_rows(C10D_MODULE, C10D_OURS),
    *_rows(FAKE_MODULE, FAKE_OURS),
)

# --- PyTorch's, which work on our classes as they are -------------------------------------------

# They look the classes up in their module when they are called, so that they meet ours there. Not every
# torch that we support has all of them.
KEPT: frozenset[str] = frozenset(
    {
        "_ExceptionRaisingThread",
        "_LOCAL_RUNNER_MODE",
        "_LOCAL_TENSOR_ATTR_PREFIX",
        "_LocalContiguous",
        "_LocalDist",
        "_LocalOffsetBasedRNGTracker",
        "_LocalPhiloxState",
        "_P",
        "_PATCHED_DEVICE_MESH_METHODS",
        "_PATCHED_DIST_FUNCTIONS",
        "_PATCHED_RANDOM_FUNCTIONS",
        "_PROCESS_MODE",
        "_R",
        "_THREAD_LOCAL_TENSOR_MODE",
        "_all_elements_same",
        "_check_for_subclass",
        "_check_for_subclass_arg",
        "_collect_accelerator_rng_states",
        "_combine_any_rank_results",
        "_combine_int_rank_results",
        "_combine_rank_results",
        "_compute_local_tensor_meta",
        "_from_local_tensor_attr",
        "_get_extra_dispatch_keys",
        "_int_on_rank",
        "_is_in_fake_tensor_mode",
        "_is_inplace_op",
        "_is_local_tensor_attr",
        "_map_to_rank_local_val",
        "_reduce_multidim_lists",
        "_set_accelerator_rng_states",
        "_to_local_tensor_attr",
        "_zero_sized_like",
        "maybe_enable_local_tracker",
    }
)

C10D_KEPT: frozenset[str] = frozenset(
    {
        "_attach_rank",
        "_gcd_list",
        "_indices_to_layout",
        "_local_recv_",
        "_local_recv_any_source_",
        "_local_reduce",
        "_local_send",
        "_prepare_collective_groups",
        "_reduce_op_and_factor",
        "_resolve_pg_or_name",
        "local_p2p_op",
        "wait_all",
    }
)
