"""What of PyTorch's state ranks that are threads share, and why: NOTE [State of torch] in own_state.py."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NOT_IN_EVERY_TORCH", "SHARED_STATE", "WRITTEN_AT_IMPORT", "Shared"]


@dataclass(frozen=True)
class Shared:
    """Names, as `fnmatch` matches them, or classes of objects, with one reason."""

    why: str
    names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()


_C10D = "torch.distributed"

# A test runs programs, and sees that these stay as they are.
WRITTEN_AT_IMPORT = "a table that is written when its module is imported"

# What a supported torch, or a build of it, lacks, of the names below and in own_state.py.
NOT_IN_EVERY_TORCH = frozenset(
    (
        "torch._C._set_cublaslt_*",
        "torch._C._set_fake_constant",
        "torch._C._set_native_aot_*",
        "torch._C._set_storage_*_msg",
        "torch._custom_class_base*",
        "torch._opaque_base*",
        "torch._refs*",
        "torch._utils._original_os_*",
        "torch._utils._sparse_tensors_to_validate",
        "torch.autograd.profiler._*cupti_*",
        "torch.autograd.profiler._*cuspy_*",
        "torch.backends.cudnn.__cudnn_version",
        "torch.backends.cusparselt.*",
        "torch.distributed._dist2._BACKENDS",
        "torch.distributed._spmd_types_available",
        "torch.distributed._token_switch._NCCL_EP_KEEPALIVE",
        "torch.distributed._transport*",
        "torch.distributed._watchdog._watchdog",
        "torch.distributed.distributed_c10d._FR_SELF_RECORDING_BACKENDS",
        "torch.distributed.fsdp._common_utils._override_module_mixed_precision()",
        "torch.distributed.pipelining._IR.aten_pipe_split_alias",
        "torch.distributed.pipelining._p2p._PP_EDGE_GROUP_CACHE",
        "torch.distributed.pipelining.stage._PP_DIRECTION_GROUP_CACHE",
        "torch.fx._symbolic_trace._is_fx_tracing_flag",
        "torch.nn.attention.varlen._cudnn_*",
        "torch.profiler._cupti*",
        "torch.profiler._cuspy*",
        "torch.utils.flop_counter.suffixes",
    )
)

SHARED_STATE = (
    Shared(
        "modules that ranks share register backends as they are imported, once; whatever a program "
        "registers, its groups are of the threads world",
        names=tuple(
            f"torch.distributed.distributed_c10d.{name}"
            for name in (
                "Backend._plugins",
                "Backend.backend_list",
                "Backend.default_device_backend_map",
                "Backend.backend_capability",
                "Backend.backend_type_map",
                "_FR_SELF_RECORDING_BACKENDS",
            )
        ),
    ),
    Shared(
        "the thread's: PyTorch keeps it for each thread, and a rank is one",
        names=tuple(
            f"torch._C.{name}"
            for name in (
                "_set_autograd_fallback_mode",
                "_set_cached_tensors_enabled",
                "_set_dispatch_mode",
                "_set_dtensor_allow_implicit_replication",
                "_set_fwd_grad_enabled",
                "_set_grad_enabled",
                "_set_meta_in_tls_dispatch_include",
                "_set_multithreading_enabled",
                "_set_skip_next_torch_function",
                "_set_thread_name",
                "_set_torch_function_state",
                "_set_tracing_state",
                "_set_view_replay_enabled",
                "set_autocast_*",
                "set_flush_denormal",
            )
        ),
    ),
    Shared(
        "exchanged with the turn by world/torch_settings.cc, rank_thread.cc or bindings/process_state.cc",
        names=(
            *(
                f"torch._C.{name}"
                for name in (
                    "_set_check_sparse_tensor_invariants",
                    "_set_cpu_allow_fp16_reduced_precision_reduction",
                    "_set_cublas_allow_tf32",
                    "_set_cudnn_allow_tf32",
                    "_set_cudnn_benchmark",
                    "_set_cudnn_deterministic",
                    "_set_cudnn_enabled",
                    "_set_default_dtype",
                    "_set_default_tensor_type",
                    "_set_deterministic_*",
                    "_set_float32_matmul_precision",
                    "_set_fp32_precision_setter",
                    "_set_math_sdp_allow_fp16_bf16_reduction",
                    "_set_mkldnn_*",
                    "_set_nnpack_enabled",
                    "_set_onednn_allow_tf32",
                    "_set_sdp_use_*",
                    "_set_warnAlways",
                    "set_anomaly_enabled",
                    "set_num_threads",
                )
            ),
            "torch.utils.deterministic.fill_uninitialized_memory",
        ),
    ),
    Shared(
        "exchanged with the turn from the first rank on that sets it (own_settings.py)",
        names=tuple(
            f"torch._C.{name}"
            for name in (
                "_set_*_preferred_backend",
                "_set_cublas_allow_*16_*",
                "_set_cudnn_depthwise_kernel",
                "_set_miopen_immediate",
                "_set_sdp_priority_order",
                "_set_sm_carveout_experimental",
            )
        ),
    ),
    Shared(
        "what modules add as they are loaded; safe_globals.py has what ranks add, and take away",
        names=("torch._weights_only_unpickler._marked_safe_globals_set",),
    ),
    Shared(
        "sets one tensor, generator or graph, which is a rank's anyway",
        names=tuple(
            f"torch._C.{name}"
            for name in (
                "_set_conj",
                "_set_fake_constant",
                "_set_graph_exec_group",
                "_set_neg",
                "_set_storage_*_msg",
                "_set_tensor_metadata",
                "_set_throw_on_mutable_data_ptr",
                "_set_value_trace",
                "_set_warn_deprecated_on_mutable_data_ptr",
            )
        ),
    ),
    Shared(
        "a GPU's, an accelerator's or an allocator's choice of kernels, which no value on the CPU shows",
        names=(
            *(
                f"torch._C.{name}"
                for name in (
                    "_set_cublaslt_*",
                    "_set_default_mobile_cpu_allocator",
                    "_set_native_aot_*",
                    "_set_override_stale_capture_stream",
                    "_set_warn_on_accumulate_grad_stream_mismatch",
                )
            ),
            "torch.accelerator.*",
            "torch.backends.cudnn.__cudnn_version",
            "torch.backends.cusparselt.*",
            "torch.backends.mps.*",
            "torch.cpu._current_stream",
            "torch.cpu.get_capabilities",
            "torch.cuda*",
            "torch.mps.*",
            "torch.mtia*",
            "torch.nn.attention._fa*",
            "torch.nn.attention._registry._FLASH_ATTENTION_*",
            "torch.nn.attention.varlen._cudnn_*",
            "torch.nn.attention.varlen._should_use_cudnn",
            "torch.nn.parallel._functions._streams",
            "torch.profiler._cupti*",
            "torch.profiler._cuspy*",
            "torch.autograd.profiler._*cupti_*",
            "torch.autograd.profiler._*cuspy_*",
            "torch.sparse._triton_ops*",
            "torch.sparse.semi_structured*",
            "torch.utils._helion.*",
            "torch.utils._pallas.*",
            "torch.utils._triton.*",
            "torch.utils.backend_registration._privateuse1_backend_name",
            "torch.xpu*",
            "torch._C._distributed_c10d._SymmetricMemory.signal_pad_size",
            "torch._native*",
            "torch._vendor*",
            f"{_C10D}._symmetric_memory._*shmem_*",
            f"{_C10D}._token_switch._NCCL_EP_KEEPALIVE",
            f"{_C10D}._transport*",
            f"{_C10D}._watchdog._watchdog",
        ),
    ),
    Shared(
        "set when torch, or a process that it starts, is set up",
        names=(
            "torch._C._set_backcompat_*",
            "torch._C._set_generator_metaclass",
            "torch._C._set_grad_layout_enforcement_enabled",
            "torch._C._set_graph_executor_optimize",
            "torch._C._set_only_lift_cpu_tensors",
            "torch._C._set_print_stack_traces_on_fatal_signal",
            "torch._C._set_qengine",
            "torch._C._set_should_use_format_with_string_table",
            "torch._C._set_worker_*",
            "torch._C.set_num_interop_threads",
            "torch.backends.__allow_nonbracketed_mutation_flag",
            "torch.backends.quantized.engine",
            "torch._logging*",
            "torch._lobpcg.LOBPCG.call_tracker",
            "torch._utils._original_os_*",
            "torch._lazy*",
            "torch._strobelight*",
            "torch.ScriptMethod.__call__",
            "torch.cpu._sleep",
            "torch.storage.UntypedStorage.resize_",
            "torch.nn.modules.module.Module.*",
            "torch.utils.data._utils.*",
            "torch.utils.data.dataloader.*",
            "torch.utils._zip.strip_file_dir",
            f"{_C10D}._spmd_types_available",
            f"{_C10D}.debug.*",
            f"{_C10D}.elastic.*",
            f"{_C10D}.flight_recorder.*",
        ),
    ),
    Shared(
        "the compiler's, except what it sets while it works (compiler_state.py): ranks' compiled functions "
        "are kept apart (compiled_regions.py), and what it keeps besides follows from what it is given",
        names=(
            "torch._dynamo*",
            "torch._export*",
            "torch._functorch*",
            "torch._guards*",
            "torch._higher_order_ops*",
            "torch._inductor*",
            "torch._sources*",
            "torch._utils_internal*",
            "torch.compiler*",
            "torch.export*",
            "torch.fx*",
            "torch.onnx*",
            "torch.utils._content_store*",
            "torch.utils._sympy*",
        ),
    ),
    Shared(
        "torch.jit's: by the function, class or type that it is about, or of one compilation",
        names=("torch.jit*", "torch._jit_internal*"),
    ),
    Shared(
        "quantization, packaging, pruning: tables written when they are imported, and what is kept by module or type",
        names=("torch.ao*", "torch.package*", "torch._numpy*", "torch.masked*"),
    ),
    Shared(
        "operators, decompositions, fake kernels and Python's types known to torch: PyTorch has them once",
        names=(
            "torch._TritonLibrary*",
            "torch._custom_class_base*",
            "torch._custom_op*",
            "torch._decomp*",
            "torch._library*",
            "torch._meta_registrations*",
            "torch._opaque_base*",
            "torch._ops*",
            "torch._prims*",
            "torch._refs*",
            "torch._subclasses.complex_tensor*",
            "torch._subclasses.fake_impls*",
            "torch.library*",
            "torch.nested._internal.ops*",
            "torch.nested._internal.nested_tensor._tensor_symint_registry",
            "torch.ops*",
            "torch.overrides*",
            "torch.utils._pytree*",
            "torch.utils._python_dispatch.TorchDispatchMode.__torch_dispatch__",
            "torch.utils._debug_mode._mode._annotate",
            "torch.nn.utils._expanded_weights*",
            f"{_C10D}._functional_collectives.*",
            f"{_C10D}._meta_registrations.*",
            f"{_C10D}._ops.*",
            f"{_C10D}._shard.sharding_spec.api._CUSTOM_SHARDING_SPEC_OPS",
            f"{_C10D}._sharding_spec.api._CUSTOM_SHARDING_SPEC_OPS",
            f"{_C10D}.device_mesh._distributed_opaque_types_registered",
            f"{_C10D}.pipelining._IR.aten_pipe_split_alias",
            f"{_C10D}.tensor.experimental._context_parallel._attention.custom_ops",
            f"{_C10D}.tensor.experimental._context_parallel._[cs]*",
        ),
        types=(
            "torch._higher_order_ops.*",
            "torch._library.custom_ops.CustomOpDef",
            "torch.library.Library",
        ),
    ),
    Shared(
        "what a function gives follows from its arguments: a cache",
        names=(
            "torch._subclasses.fake_tensor.FakeTensorMode.cache*",
            "torch._subclasses.fake_tensor._is_indexed_device_type",
            "torch._subclasses.fake_tensor.get_schema_info",
            "torch._subclasses.fake_tensor.init_gpu_context",
            "torch._subclasses.fake_tensor.torch_decomp_decompositions",
            "torch._subclasses.functional_tensor._can_decompose_fast",
            "torch._utils._get_device_module",
            "torch._weights_only_unpickler._get_allowed_globals",
            "torch.distributions.kl._KL_MEMOIZE",
            "torch.get_device_module",
            "torch.serialization._get_layout.cache",
            "torch.storage._dtype_to_storage_type_map",
            "torch.storage._new_dtypes",
            "torch.storage._storage_type_to_dtype_map",
            "torch.utils._device._device_constructors",
            "torch.utils._import_utils.*",
            "torch.utils._python_dispatch.get_alias_info",
            f"{_C10D}.fsdp._flat_param._get_dtype_size",
            f"{_C10D}.pipelining.schedules._get_profiler_function_name",
        ),
    ),
    Shared(
        "by module, tensor, parameter, class, group or memory, each of which is one rank's",
        names=(
            "torch._subclasses.fake_tensor.FakeTensor.*_memo",
            "torch.autograd.function.FunctionMeta._backward_cls",
            "torch.distributions.kl._KL_REGISTRY",
            "torch.distributions.identity_transform",
            "torch.multiprocessing.reductions.shared_cache",
            "torch.storage._share_memory_map",
            "torch.utils.data.datapipes.*",
            "torch.utils.mkldnn.*",
            f"{_C10D}._composable_state._module_state_mapping",
            f"{_C10D}.fsdp._common_utils._MODULE_TO_INP_DTYPE",
            f"{_C10D}.pipelining._p2p._PP_EDGE_GROUP_CACHE",
            f"{_C10D}.pipelining.stage._PP_DIRECTION_GROUP_CACHE",
            f"{_C10D}.optim.apply_optimizer_in_backward.*",
        ),
    ),
    Shared(
        "counts, so that what is numbered is unlike all else in the process",
        names=(
            "torch._subclasses.meta_utils.DESCRIBER_NEXT_ID",
            "torch.nested._internal.nested_tensor._tensor_id_counter",
            "torch.utils.hooks.RemovableHandle.next_id",
        ),
    ),
    Shared(
        "empty, or as it was, when the function that fills it returns, and none of these waits for ranks",
        names=(
            "torch._subclasses.fake_tensor.RECURSION_COUNT",
            "torch._utils._sparse_tensors_to_validate",
            "torch.nested._internal.nested_tensor._dummy_instance",
            f"{_C10D}._tools.runtime_estimator.RuntimeEstimator.fake_mode",
        ),
    ),
    Shared(
        "what has been warned of: once a process, as all warnings of shared modules",
        names=(
            "torch.nn.attention.flex_attention._WARNINGS_SHOWN",
            "torch.profiler.profiler._WARNINGS_SHOWN",
            "torch.random._fork_rng_warned_already",
            "torch.storage._always_warn_typed_storage_removal",
            "torch.utils._stats.simple_call_counter",
            f"{_C10D}.fsdp._flat_param._warn_*",
        ),
    ),
    Shared(
        "threads.torch_globals gives each rank a `_world` of its own, which does not use it",
        names=(
            f"{_C10D}.distributed_c10d._backend",
            f"{_C10D}.distributed_c10d._default_pg_init_method",
            f"{_C10D}.distributed_c10d._group_count",
            f"{_C10D}.distributed_c10d._pg_map",
        ),
    ),
    Shared(
        "polyrank's own simulator stands for it, or it is off where ranks are threads",
        names=(f"{_C10D}._local_tensor.*", f"{_C10D}.config.*", f"{_C10D}._dist2._BACKENDS"),
    ),
    Shared(
        "RPC, whose threads of C++ are no ranks (docs/worlds.md)",
        names=(f"{_C10D}.rpc*",),
    ),
    Shared(
        WRITTEN_AT_IMPORT,
        names=(
            "torch._storage_classes",
            "torch._tensor_classes",
            "torch._weights_only_unpickler._blocklisted_modules",
            "torch.autograd.profiler_util._EVENT_METADATA_KEYS",
            "torch.nn.attention._backend_names",
            "torch.nn.attention.flex_attention.BlockMask._*_ATTRS",
            "torch.profiler._memory_profiler.*",
            "torch.profiler._chrome_trace_export.*",
            "torch.profiler._trace_validator.*",
            "torch.serialization._package_registry",
            "torch.testing._*",
            "torch.utils.collect_env.*",
            "torch.utils.cpp_extension.*",
            "torch.utils.flop_counter.suffixes",
            "torch.utils.hipify.*",
            "torch.utils.show_pickle.*",
            f"{_C10D}._shard.checkpoint._experimental.barriers.BARRIER_REGISTRY",
            f"{_C10D}._shard.checkpoint._state_dict_stager.dispatch_table",
            f"{_C10D}._shard.checkpoint.state_dict.HYBRID_SHARDING_STRATEGIES",
            f"{_C10D}._tensor.submodules",
            f"{_C10D}._tools.*",
            f"{_C10D}.algorithms._optimizer_overlap.*",
            f"{_C10D}.checkpoint._experimental.barriers.BARRIER_REGISTRY",
            f"{_C10D}.fsdp._init_utils.SHARDING_STRATEGY_MAP",
            f"{_C10D}.optim.optimizer.functional_optim_map",
            f"{_C10D}.pipelining._schedule_visualizer.*",
            f"{_C10D}.tensor._ops*",
            f"{_C10D}.tensor.debug.*",
            f"{_C10D}.tensor.experimental._context_parallel._attention._dispatch_mode",
            f"{_C10D}.tensor.parallel.loss.customized_loss_ops",
        ),
    ),
    Shared(
        "a setting for all of a program's files, not of a rank",
        names=(
            "torch.utils._filelock.*",
            "torch.utils.serialization.config.*",
            "torch.utils._runtime_estimation.*",
        ),
    ),
    Shared(
        "a default that its function reads, and keyword arguments of a decorator, which it copies",
        names=(
            f"{_C10D}._shard.checkpoint._state_dict_stager.StateDictStager.deepcopy_with_tensor_offload()",
            f"{_C10D}.checkpoint._state_dict_stager.StateDictStager.deepcopy_with_tensor_offload()",
            f"{_C10D}.fsdp._common_utils._override_module_mixed_precision()",
            "*:wrapper_kwargs",
        ),
    ),
)
