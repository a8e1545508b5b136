"""The random states of ranks, under the names of PyTorch's simulator."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from polyrank.tensor.active_modes import enabled_local_tensor_mode
from polyrank.tensor.local_tensor import LocalTensor
from polyrank.tensor.local_tensor_mode import LocalTensorMode
from polyrank.tensor.rank_states import RankState


def _out_of_mode() -> contextlib.AbstractContextManager[None]:
    """In a mode the CPU's states are those of all ranks."""
    mode = enabled_local_tensor_mode()
    return contextlib.nullcontext() if mode is None else mode.disable()


def get_rng_state() -> RankState:
    """This process's own random state, of the CPU and of the accelerator in use."""
    from torch.distributed import _local_tensor

    with _out_of_mode():
        cpu_state = torch.get_rng_state()
    return cpu_state, _local_tensor._collect_accelerator_rng_states()


def set_rng_state(cpu_state: torch.Tensor, accelerator_states: dict[int, torch.Tensor]) -> None:
    """Set this process's own random state."""
    from torch.distributed import _local_tensor

    with _out_of_mode():
        torch.set_rng_state(cpu_state)
    _local_tensor._set_accelerator_rng_states(accelerator_states)


def collect_cuda_rng_states() -> list[torch.Tensor]:
    """The state of each cuda device; none where there is no cuda.

    Source: `torch.distributed._local_tensor` of torch 2.9.
    """
    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_rng_state(index) for index in range(torch.cuda.device_count())]


def set_cuda_rng_states(rng_states: list[torch.Tensor]) -> None:
    """Set the state of each cuda device, as `collect_cuda_rng_states` gave it."""
    if not torch.cuda.is_available():
        return
    for index, state in enumerate(rng_states):
        torch.cuda.set_rng_state(state, index)


def _seed_in(state: torch.Tensor) -> int:
    return int(state[:8].view(torch.int64).item())


def get_generator_seed_for_device_type(device_type: str) -> int | torch.SymInt:
    """The seed that the device's random state begins with, of each rank in a mode."""
    mode = enabled_local_tensor_mode()
    if mode is None:
        return _seed_in(torch.get_device_module(device_type).get_rng_state())
    states: Any = _states_on(mode, device_type)
    return states[:8].view(torch.int64).item()  # type: ignore[no-any-return]


def _states_on(mode: LocalTensorMode, device_type: str) -> torch.Tensor:
    return mode._state.get_rng_state(_device_of(device_type))


def _device_of(device_type: str) -> torch.device:
    if device_type == "cpu":
        return torch.device("cpu")
    return torch.device(device_type, torch.get_device_module(device_type).current_device())


class LocalDeviceHandle:
    """A device module, such as torch.cuda, whose random state is all ranks' in a mode.

    Source: `torch.distributed._local_tensor._LocalDeviceHandle`.
    """

    def __init__(self, device_handle: Any, device_type: str) -> None:
        self._device_handle = device_handle
        self._device_type = device_type

    def get_rng_state(self) -> torch.Tensor:
        """The random state, a LocalTensor in a mode."""
        mode = enabled_local_tensor_mode()
        if mode is None:
            state: torch.Tensor = self._device_handle.get_rng_state()
            return state
        return _states_on(mode, self._device_type)

    def set_rng_state(self, state: torch.Tensor) -> None:
        """Set the random state, of each rank in a mode."""
        mode = enabled_local_tensor_mode()
        if mode is None or not isinstance(state, LocalTensor):
            self._device_handle.set_rng_state(state.to("cpu"))
        else:
            mode._state.set_rng_state(_device_of(self._device_type), state.to("cpu"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device_handle, name)


class LocalRandom:
    """Seeding in a mode, as functions.

    Source: `torch.distributed._local_tensor._LocalRandom`.
    """

    @staticmethod
    def torch_manual_seed(seed: Any) -> torch.Generator:
        """`torch.manual_seed`, of each rank in a mode."""
        return torch.manual_seed(seed)

    @staticmethod
    def torch_initial_seed() -> int | torch.SymInt:
        """`torch.initial_seed`, of each rank in a mode."""
        return torch.initial_seed()
