"""What PyTorch's Python code has once a process and each rank has of its own.

NOTE [State of torch]
`scripts/list_torch_state.py` walks the installed torch for what is mutable and one per process. Each
thing it finds is a rank's own, by this table, or shared, by that of `shared_state.py`, which says why;
a test holds both against the installed torch. What is set in PyTorch's C++ is in
world/torch_settings.cc, what THREADS replaces in `torch_globals.py`.
"""

from __future__ import annotations

import contextlib
import copy
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from polyrank import _C
from polyrank.rank_threads.compiler_state import COMPILER_STATE
from polyrank.replacing.when_imported import WhenImported

__all__ = ["FORGOTTEN_CACHES", "OWN_STATE", "Own", "own_state"]


@dataclass(frozen=True)
class Own:
    """Names that an object of torch has.

    Args:
        owner: a module, or what one holds: "torch.random", "torch.nn:Module". One that is not loaded
            is left alone until it is.
        names: of values. Of a dict, list or set the entries are exchanged, whoever holds it.
        is_rebound: other objects come under the names, containers too: a rank starts with a copy.
    """

    owner: str
    names: tuple[str, ...]
    is_rebound: bool = False

    @property
    def module(self) -> str:
        """The name of the module that has to be loaded."""
        return self.owner.partition(":")[0]

    def full_names(self) -> list[str]:
        """With their owner's; a module in whose place one of properties stands is its `m`."""
        owner = self.owner.removesuffix(":m").replace(":", ".")
        return [f"{owner}.{name}" for name in self.names]

    def add_to(self, state: _C.ProcessState) -> None:
        """From now on let each rank have its own; of names that this torch has."""
        _, colon, path = self.owner.partition(":")
        owner: Any = sys.modules[self.module]
        if colon:
            try:
                owner = pkgutil.resolve_name(f"{self.module}:{path}")
            except AttributeError:
                return
        attributes = vars(owner)
        for name in filter(attributes.__contains__, self.names):
            value = attributes[name]
            if isinstance(value, dict | list | set) and not self.is_rebound:
                state.add_entries(value)
            else:
                make = _copied if self.is_rebound else None
                state.add_value(owner if isinstance(owner, type) else attributes, name, make)


def _copied(value: Any, _: int) -> Any:
    return copy.copy(value)


_PLANS = (
    "_cached_save_plan",
    "_cached_final_save_plan",
    "_cached_all_plans",
    "_cached_global_plan",
    "_cached_metadata",
)
_SHARDED_TENSORS = ("_sharded_tensor_current_id", "_sharded_tensor_map")

OWN_STATE = (
    Own(
        "torch.nn.modules.module",
        (
            "_global_buffer_registration_hooks",
            "_global_module_registration_hooks",
            "_global_parameter_registration_hooks",
            "_global_backward_pre_hooks",
            "_global_backward_hooks",
            "_global_is_full_backward_hook",
            "_global_forward_pre_hooks",
            "_global_forward_hooks",
            "_global_forward_hooks_always_called",
            "_global_forward_hooks_with_kwargs",
        ),
    ),
    Own("torch.optim.optimizer", ("_global_optimizer_pre_hooks", "_global_optimizer_post_hooks")),
    # What a context manager sets, in which a rank may wait for others.
    Own("torch.nn.utils.parametrize", ("_cache_enabled", "_cache"), is_rebound=True),
    Own("torch.utils.checkpoint", ("_checkpoint_debug_enabled", "_enable_checkpoint_early_stop")),
    Own("torch.utils.checkpoint:DefaultDeviceType", ("_default_device_type",)),
    Own("torch.autograd.forward_ad", ("_current_level",)),
    Own("torch.autograd.graph", ("_allow_mutation_on_saved_tensors_enabled",)),
    Own("torch.autograd.profiler", ("_is_profiler_enabled",)),
    Own("torch.autograd.profiler:KinetoStepTracker", ("_step_dict", "_current_step")),
    Own("torch.utils._device", ("CURRENT_DEVICE",)),
    *(Own(owner, names, is_rebound=True) for owner, names in COMPILER_STATE.items()),
    Own(
        "torch.utils._python_dispatch",
        (
            "_is_in_torch_dispatch_mode",
            "_is_in_non_infra_torch_dispatch_mode",
            "_is_in_any_mode_without_ignore_compile_internals",
        ),
    ),
    Own("torch.utils._debug_mode._mode", ("_ACTIVE_DEBUG_MODE_COUNT", "_annotate_decorated")),
    Own("torch.utils._debug_mode._mode:DebugMode", ("_annotate",)),
    Own(
        "torch.utils._debug_mode._utils",
        (
            "_DISPATCH_RECORD_HOOKS",
            "_DISPATCH_LOG_HOOKS",
            "_DISPATCH_PRE_LOG_HOOKS",
            "_IN_INDUCTOR_BENCHMARK",
            "_RECORD_TRITON_OUTPUTS",
            "_TRITON_INPUT_HASH_FN",
            "_TRITON_OUTPUT_HASH_FN",
        ),
    ),
    Own("torch.utils.data.datapipes._decorator", ("_determinism", "_runtime_validation_enabled")),
    Own("torch.nn.parallel.distributed:DistributedDataParallel", ("_active_ddp_module",)),
    Own(
        "torch.distributed.fsdp.wrap:_ConfigAutoWrap",
        ("in_autowrap_context", "wrapper_cls", "kwargs"),
        is_rebound=True,
    ),
    Own("torch.distributed._shard.api", ("_CURRENT_PROCESS_GROUP",)),
    # loss_parallel's, among others.
    Own("torch.distributed.tensor:DTensor._op_dispatcher", ("_custom_op_handlers",)),
    Own(
        "torch.distributed.tensor.experimental._context_parallel._attention",
        ("_replaced_functions", "_compiled_create_block_mask"),
    ),
    Own(
        "torch.distributed.tensor.experimental._context_parallel._attention:_cp_options",
        ("enable_load_balance", "rotate_method"),
    ),
    Own("torch.nn.functional", ("scaled_dot_product_attention",)),  # by context_parallel()
    # What a program sets.
    Own(
        "torch.__future__",
        ("_overwrite_module_params_on_conversion", "_swap_module_params_on_conversion"),
    ),
    Own(
        "torch._tensor_str:PRINT_OPTS",
        ("edgeitems", "linewidth", "precision", "sci_mode", "threshold"),
    ),
    Own("torch.backends.mha", ("_is_fastpath_enabled",)),
    Own("torch.backends.opt_einsum:m", ("enabled", "strategy")),
    Own("torch.distributions.distribution:Distribution", ("_validate_args",)),
    Own("torch.hub", ("_hub_dir",)),
    Own("torch._logging._internal:log_state", ("log_qname_to_level", "artifact_names")),
    Own("torch.multiprocessing", ("_sharing_strategy",)),
    Own("torch.distributed.fsdp._fsdp_extensions", ("_extensions",)),
    Own("torch.distributed.fsdp._fully_shard._fully_shard", ("_enable_fsdp_module_new_init",)),
    Own(
        "torch.distributed.tensor._redistribute",
        (
            "_FORCE_MIN_COST_REDISTRIBUTION_PLAN",
            "_DISABLE_REDISTRIBUTE_TRANSFORM_OPTIMIZATION",
        ),
    ),
    # What a rank has made: under names that are the same on all ranks, or kept as long as it runs.
    Own("torch.distributed", ("_breakpoint_cache",)),
    Own("torch.distributed.rendezvous", ("_rendezvous_handlers",)),
    Own("torch.distributed._shard.sharded_tensor.api", _SHARDED_TENSORS),
    Own(
        "torch.distributed._symmetric_memory",
        (
            "_is_test_mode",
            "_mocked_group_names",
            "_use_implicit_mempool",
            "_group_name_to_store",
            "_group_name_to_workspace_tensor",
            "_backend_streams",
            "_symm_mem_pools",
        ),
    ),
    Own("torch.distributed.checkpoint.planner:SavePlanner", _PLANS),
    Own("torch.distributed.checkpoint.state_dict", ("_patched_state_dict",)),
    # By their old names modules are loaded a second time.
    Own("torch.distributed._shard.checkpoint.planner:SavePlanner", _PLANS),
    Own("torch.distributed._shard.checkpoint.state_dict", ("_patched_state_dict",)),
    Own("torch.distributed._shard.checkpoint._async_process_executor", ("_CHECKPOINT_PROCESS",)),
    Own("torch.distributed._shard.checkpoint._version", ("_derived_version",)),
    Own("torch.distributed._sharded_tensor.api", _SHARDED_TENSORS),
    Own("torch.distributed.checkpoint._async_process_executor", ("_CHECKPOINT_PROCESS",)),
    Own("torch.distributed.checkpoint._version", ("_derived_version",)),
    Own("torch.distributed.fsdp._debug_utils:SimpleProfiler", ("results", "profiling")),
    Own("torch.distributed.tensor._random", ("_rng_tracker",)),
    Own("torch.distributed.tensor._redistribute", ("_planner_cache", "_warned_flatten_issues")),
)

# Caches by mesh, of which each equals its rank's alone (any_world/mesh_identity.py): right, and never asked again.
FORGOTTEN_CACHES = (
    "torch.distributed.tensor._collective_utils:MeshTopoInfo.build_from_mesh",
    "torch.distributed.tensor._redistribute:_gen_transform_infos",
    "torch.distributed.tensor._sharding_prop:ShardingPropagator._propagate_tensor_meta_cached",
)


@contextlib.contextmanager
def own_state(state: _C.ProcessState) -> Iterator[None]:
    """Let each rank have its own of all in the table, of modules that are loaded later too.

    In the end forgets what caches of torch keep of ranks.
    """
    rows_of: dict[str, list[Own]] = {}
    for row in OWN_STATE:
        rows_of.setdefault(row.module, []).append(row)

    def loaded(module: Any) -> None:
        for row in rows_of[module.__name__]:
            row.add_to(state)

    waiting = [WhenImported(module, loaded) for module in rows_of]
    try:
        yield
    finally:
        for one in waiting:
            one.stop()
        for cache in FORGOTTEN_CACHES:
            if cache.partition(":")[0] in sys.modules:
                pkgutil.resolve_name(cache).cache_clear()
