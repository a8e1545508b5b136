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
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint._async_process_executor import (
    _ProcessBasedAsyncCheckpointExecutor,
)
from torch.distributed.checkpoint._async_thread_executor import (
    _ThreadBasedAsyncCheckpointExecutor,
)
from torch.distributed.checkpoint._state_dict_stager import StateDictStager

from polyrank.collective_functions import in_lockstep
from polyrank.install.checkpoint.loading import load_state_dict
from polyrank.install.checkpoint.saving import save_state_dict
from polyrank.local_tensor import LocalTensor


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


# Owner, name, and what makes the replacement from the original.
ADAPTED: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
    (state_dict_saver, "_save_state_dict", in_lockstep(save_state_dict)),
    (state_dict_loader, "_load_state_dict", in_lockstep(load_state_dict)),
    (StateDictStager, "_offload_tensor", _wrap_offload),
    (_ThreadBasedAsyncCheckpointExecutor, "execute_save", in_lockstep(_save_at_once)),
    (_ProcessBasedAsyncCheckpointExecutor, "execute_save", in_lockstep(_save_at_once)),
)
