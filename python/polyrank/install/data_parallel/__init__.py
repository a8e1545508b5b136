"""What DistributedDataParallel needs in C++, in Python: its reducer, and what goes with it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import BuiltinCommHookType
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks

from polyrank import _C
from polyrank.errors import DivergenceError
from polyrank.install.data_parallel.reducer import Reducer
from polyrank.lockstep_world.groups.process_groups import own_group_ranks
from polyrank.lockstep_world.in_lockstep import in_lockstep
from polyrank.replacing.row import Row
from polyrank.tensor.active_modes import enabled_local_tensor_mode
from polyrank.tensor.local_tensor import LocalTensor


class Logger:
    """What DistributedDataParallel can be asked about itself: its options, and no times.

    Source: `torch.distributed.Logger`.
    """

    def __init__(self, reducer: Reducer) -> None:
        self._reducer = reducer
        self._texts: dict[str, str] = {"comm_hook": "allreduce"}
        self._numbers: dict[str, int] = {}

    def set_construction_data_and_log(
        self,
        module_name: str,
        device_ids: list[int],
        output_device: int,
        broadcast_buffers: bool,
        has_sync_bn: bool,
        static_graph: bool,
    ) -> None:
        """Keep how the module was wrapped."""
        self._texts["module_name"] = module_name
        self._numbers.update(
            broadcast_buffers=broadcast_buffers, has_sync_bn=has_sync_bn, static_graph=static_graph
        )

    def set_runtime_stats_and_log(self) -> None:
        """Nothing to do: no clock runs here."""

    def set_error_and_log(self, error: str) -> None:
        """Keep what went wrong."""
        self._texts["error"] = error

    def _set_comm_hook_name(self, comm_hook: str) -> None:
        self._texts["comm_hook"] = comm_hook

    def _set_uneven_input_join(self) -> None:
        self._numbers["join_uneven_inputs"] = True

    def _set_static_graph(self) -> None:
        self._numbers["static_graph"] = True

    def _get_ddp_logging_data(self) -> Any:
        sizes = [bucket.buffer.nbytes for bucket in self._reducer.buckets]
        texts = {"bucket_sizes": ", ".join(map(str, sizes)), **self._texts}
        numbers = {
            "world_size": dist.get_world_size(),
            "iteration": self._reducer.num_iterations,
            **self._numbers,
        }
        return SimpleNamespace(strs_map=texts, ints_map=numbers)


_BUILT_IN_HOOKS = {
    BuiltinCommHookType.ALLREDUCE: default_hooks.allreduce_hook,
    BuiltinCommHookType.FP16_COMPRESS: default_hooks.fp16_compress_hook,
}


def _register_comm_hook(reducer: Reducer, state: Any, hook: Callable[..., Any]) -> None:
    reducer.register_comm_hook(state, hook)


def _register_builtin_comm_hook(reducer: Reducer, kind: BuiltinCommHookType) -> None:
    reducer.register_comm_hook(reducer._group, _BUILT_IN_HOOKS[kind])


def _verify_params(
    group: dist.ProcessGroup, params: list[torch.Tensor], logger: Logger | None = None
) -> None:
    """Refuse parameters whose shapes differ between ranks; there is nothing else to exchange."""
    for i, param in enumerate(params):
        if isinstance(param, LocalTensor) and not _C.has_uniform_geometry(param):
            shapes = {str(c.ranks): tuple(c.tensor.shape) for c in param.cohorts()}
            raise DivergenceError(
                "DistributedDataParallel needs the same shapes on all ranks, and parameter "
                f"{i} has, by ranks, {shapes}"
            )


def _distributed_rank(self: Any) -> int | torch.SymInt:
    """`DistributedDataParallel._distributed_rank`, by which join() picks whose buffers count."""
    mode: Any = enabled_local_tensor_mode()
    return own_group_ranks(self.process_group, mode.rank_set)


def _on_reducer(own: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(own)
        def function(reducer: Any, *args: Any) -> Any:
            return (own if isinstance(reducer, Reducer) else original)(reducer, *args)

        return function

    return make


_REDUCER = "reads tensors by data pointer"

ROWS = (
    Row("torch.distributed", "Reducer", in_lockstep(Reducer), _REDUCER),
    Row("torch.distributed", "Logger", _on_reducer(Logger), "takes PyTorch's reducer alone"),
    Row("torch.distributed", "_register_comm_hook", _on_reducer(_register_comm_hook), _REDUCER),
    Row(
        "torch.distributed",
        "_register_builtin_comm_hook",
        _on_reducer(_register_builtin_comm_hook),
        _REDUCER,
    ),
    Row(
        "torch.distributed",
        "_verify_params_across_processes",
        in_lockstep(_verify_params),
        "exchanges shapes with processes that do not exist",
    ),
    Row(
        "torch.nn.parallel:DistributedDataParallel",
        "_distributed_rank",
        in_lockstep(_distributed_rank),
        "gives one rank's answer for all",
    ),
)
