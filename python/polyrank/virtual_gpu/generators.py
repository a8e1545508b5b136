"""The default generators of virtual GPUs, as torch.cuda's functions of seeds and states find them.

Ranks that are threads have each their own (rank_gpus.h). In lockstep they are the streams of all ranks:
a seed may differ between ranks, and a state is a LocalTensor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from polyrank import _C
from polyrank.errors import UnsupportedOpError

__all__ = ["DefaultGenerators", "manual_seed", "manual_seed_all"]


class DefaultGenerators:
    """`torch.cuda.default_generators`: by index, of the rank or ranks that run now."""

    def __len__(self) -> int:
        return _C.virtual_gpus().count

    def __getitem__(self, gpu: int) -> Any:
        from polyrank.tensor.active_modes import enabled_local_tensor_mode

        if not -len(self) <= gpu < len(self):
            raise IndexError(f"there are {len(self)} virtual GPUs, and {gpu} was asked for")
        generator = _C.default_gpu_generator(gpu % len(self))
        mode = enabled_local_tensor_mode()
        return generator if mode is None else _RanksGenerator(mode._state, generator)

    def __iter__(self) -> Iterator[Any]:
        return (self[gpu] for gpu in range(len(self)))


class _RanksGenerator:
    """As the default generator of a GPU, on all ranks of a lockstep mode."""

    def __init__(self, state: _C.LockstepMode, of_process: torch.Generator) -> None:
        self._state = state
        self._of_process = of_process
        self.device = of_process.device

    def manual_seed(self, seed: int | torch.SymInt) -> _RanksGenerator:
        """Seed each rank's stream."""
        # As torch's: a seed is 64 bits, whether it is written as a positive number or a negative one.
        bits = seed if isinstance(seed, torch.SymInt) else (seed + 2**63) % 2**64 - 2**63
        self._state.seed_on(self.device, bits)
        if not isinstance(seed, torch.SymInt):
            # Streams that start anew, as torch.manual_seed lets them, start from the process's.
            self._of_process.manual_seed(seed)
        return self

    def seed(self) -> int:
        """Seed all ranks' streams with one number that nobody chose."""
        seed = self._of_process.seed()
        self.manual_seed(seed)
        return seed

    def initial_seed(self) -> int | torch.SymInt:
        """The seed that each rank's stream started from."""
        return self._state.initial_seed(self.device)

    def get_state(self) -> torch.Tensor:
        """The state of each rank's stream: a LocalTensor."""
        return self._state.get_rng_state(self.device)

    def set_state(self, state: torch.Tensor) -> _RanksGenerator:
        """Set the state of each rank's stream."""
        self._state.set_rng_state(self.device, state)
        return self

    def __getattr__(self, name: str) -> Any:
        if not hasattr(torch.Generator, name):
            raise AttributeError(name)
        raise UnsupportedOpError(
            f"{name} of the default generator of {self.device} in lockstep, where it stands for every "
            "rank's stream: use manual_seed, get_state and set_state, a generator of your own, or run "
            "the program in the threads world (`polyrank run --world threads`)."
        )


def manual_seed(seed: int | torch.SymInt) -> None:
    """`torch.cuda.manual_seed`, whose seed may differ between ranks that run in lockstep."""
    torch.cuda.default_generators[_C.current_gpu()].manual_seed(_as_seed(seed))


def manual_seed_all(seed: int | torch.SymInt) -> None:
    """`torch.cuda.manual_seed_all`, in the same way."""
    for generator in torch.cuda.default_generators:
        generator.manual_seed(_as_seed(seed))


def _as_seed(seed: int | torch.SymInt) -> int:
    return seed if isinstance(seed, torch.SymInt) else int(seed)  # type: ignore[return-value]
