"""What PyTorch's tracers and compilers set while they work, or a program sets of them, by module.

A rank may wait for others in a traced function, in a backend or in what the compiler calls, and the
others must not find themselves traced. Names as in NOTE [State of torch] in own_state.py; ranks start
with copies of containers. What is compiled is kept apart by compiled_regions.py.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["COMPILER_STATE"]

COMPILER_STATE: Mapping[str, tuple[str, ...]] = {
    # Tracers of torch.fx patch the class of all modules meanwhile.
    "torch.nn.modules.module:Module": ("__call__", "__getattr__"),
    "torch.fx._symbolic_trace": ("_is_fx_tracing_flag", "CURRENT_PATCHER"),
    "torch.fx._lazy_graph_module": (
        "_force_skip_lazy_graph_module_flag",
        "_use_lazy_graph_module_flag",
    ),
    "torch.fx.experimental.dynamic_spec": ("_SPEC_SHAPE_ENV",),
    "torch.fx.experimental.proxy_tensor": ("_CURRENT_MAKE_FX_TRACER",),
    "torch.fx.experimental.recording": ("NEST",),
    "torch.fx.traceback": (
        "current_meta",
        "current_replay_node",
        "should_preserve_node_meta",
        "_should_preserve_node_meta",
    ),
    "torch.jit._trace": ("_trace_module_map",),
    "torch.compiler": ("_is_compiling_flag", "_is_exporting_flag", "_is_non_strict_tracing_flag"),
    "torch.export._trace": ("_EXPORT_FLAGS", "_EXPORT_MODULE_HIERARCHY"),
    "torch.export.unflatten": ("RUN_WITH_INTERPRETER",),
    "torch._export.serde.serialize": ("_CURRENT_DESERIALIZER",),
    "torch._export.utils": ("_DISABLE_ATEN_TO_ASSERTION_PASS",),
    "torch._functorch._activation_offloading.offload_ops": ("_pool_enabled",),
    "torch._functorch._aot_autograd.logging_utils": (
        "graph_being_compiled",
        "model_name",
        "nth_graph",
    ),
    "torch._functorch.eager_transforms": ("JVP_NESTING",),
    "torch._higher_order_ops.invoke_leaf_function": (
        "_leaf_function_module_retriever",
        "_makefx_next_index",
    ),
    "torch._higher_order_ops.local_map": ("_DEFER_INLINING",),
    "torch._dynamo.backends.registry": ("_default_backend",),
    "torch._dynamo.compiled_autograd": (
        "active_disable_ctx",
        "compiled_autograd_enabled",
        "compiled_autograd_enabled_force_eager",
        "depth",
        "in_compiled_autograd_region",
    ),
    "torch._dynamo.convert_frame": ("initial_global_state",),
    "torch._dynamo.distributed": ("_COMPILE_PG", "_GUARD_PG"),  # groups, which are each rank's
    "torch._dynamo.eval_frame": ("_EXAMPLE_INPUTS", "_in_optimized_module", "_stance"),
    "torch._dynamo.graph_deduplication": ("last_node_to_additional_deps",),
    "torch._dynamo.trace_rules": ("_force_inline_flag",),
    "torch._dynamo.utils": (
        "curr_frame",
        "op_count",
        "_error_on_graph_break",
        "_recompile_user_contexts",
    ),
}
