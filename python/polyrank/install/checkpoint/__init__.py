"""torch.distributed.checkpoint, whose planners and writers act for one rank each.

PyTorch runs them in each process and exchanges plans in between. Here each rank has its own, which
see the state dict as that rank has it and run one rank after another between the exchanges.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import torch
from torch.distributed.checkpoint import state_dict_saver

from polyrank.install.checkpoint.loading import load_state_dict
from polyrank.install.checkpoint.saving import save_state_dict
from polyrank.lockstep_world.in_lockstep import in_lockstep
from polyrank.replacing.row import Row
from polyrank.tensor.local_tensor import LocalTensor


def _save_at_once(self: Any, staged: Any, **options: Any) -> Future[Any]:
    """`execute_save` of `async_save`'s executors, without another thread: a mode has one."""
    done: Future[Any] = Future()
    try:
        state_dict = staged.result() if isinstance(staged, Future) else staged
        done.set_result(state_dict_saver.save(state_dict, **options))
    except Exception as error:  # noqa: BLE001  whoever asks for the result gets it
        done.set_exception(error)
    return done


def _wrap_offload(original: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """`StateDictStager._offload_tensor`, which copies a tensor's bytes by pointer."""

    @functools.wraps(original)
    def offload_tensor(
        self: Any, x: torch.Tensor, memo: dict[int, Any], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        if not isinstance(x, LocalTensor):
            return original(self, x, memo, *args, **kwargs)
        memo[id(x)] = x.detach().to("cpu", copy=True)
        return memo[id(x)]  # type: ignore[no-any-return]

    return offload_tensor


_CHECKPOINT = "torch.distributed.checkpoint"
_EACH_RANK = "plans, writes and reads for the one rank of its process"
_AT_ONCE = "saves in another thread, and a mode has one"

ROWS = (
    Row(
        f"{_CHECKPOINT}.state_dict_saver",
        "_save_state_dict",
        in_lockstep(save_state_dict),
        _EACH_RANK,
    ),
    Row(
        f"{_CHECKPOINT}.state_dict_loader",
        "_load_state_dict",
        in_lockstep(load_state_dict),
        _EACH_RANK,
    ),
    Row(
        f"{_CHECKPOINT}._state_dict_stager:StateDictStager",
        "_offload_tensor",
        _wrap_offload,
        "copies a tensor's bytes by pointer",
    ),
    Row(
        f"{_CHECKPOINT}._async_thread_executor:_ThreadBasedAsyncCheckpointExecutor",
        "execute_save",
        in_lockstep(_save_at_once),
        _AT_ONCE,
    ),
    Row(
        f"{_CHECKPOINT}._async_process_executor:_ProcessBasedAsyncCheckpointExecutor",
        "execute_save",
        in_lockstep(_save_at_once),
        "saves in another process, and a mode has one",
    ),
)
