"""Seeds and states of the CPU's generator, of which each rank has its own while a mode is active."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

from polyrank.errors import UsageError
from polyrank.lockstep_world.in_lockstep import with_mode
from polyrank.numbers.rank_dependent_numbers import number_of_ranks
from polyrank.replacing.row import Row

__all__ = ["SEEDS", "STATES"]


def _while_disabled(own: Callable[..., Any]) -> Callable[..., Any]:
    """`own(mode, …)` with the mode off: it acts on plain tensors."""

    def run(mode: Any, *args: Any) -> Any:
        with mode.disable():
            return own(mode, *args)

    return run


def _manual_seed(mode: Any, seed: int | torch.SymInt) -> torch.Generator:
    if isinstance(seed, torch.SymInt):
        mode._state.seed(_signed(seed))
        return torch.default_generator
    generator = torch.random._manual_seed_impl(seed)
    mode._state.restart_generators()
    return generator


def _signed(seed: torch.SymInt) -> Any:
    """The seed of 64 bits as C++ holds it; as torch's, which takes -1 and 2**64 - 1 for the same."""
    values = seed.node._local_ints
    if not all(-(2**63) <= value < 2**64 for value in values.values()):
        raise UsageError(f"torch.manual_seed takes a seed from -2**63 to 2**64 - 1, not {seed}")
    return number_of_ranks(
        {rank: (value + 2**63) % 2**64 - 2**63 for rank, value in values.items()}
    )


def _initial_seed(mode: Any) -> int | torch.SymInt:
    seed: int | torch.SymInt = mode._state.initial_seed()
    return seed


def _get_rng_state(mode: Any) -> torch.Tensor:
    # As PyTorch's, the state is a plain value also inside vmap and grad, which would wrap it.
    with temporarily_clear_interpreter_stack():
        return mode._state.get_rng_state(torch.device("cpu"))  # type: ignore[no-any-return]


def _set_rng_state(mode: Any, new_state: torch.Tensor) -> None:
    with temporarily_clear_interpreter_stack():
        mode._state.set_rng_state(torch.device("cpu"), new_state)


_WHY = "one generator stands for the streams of all ranks"


def _row(name: str, own: Callable[..., Any]) -> Row:
    return Row("torch.random", name, with_mode(_while_disabled(own)), _WHY)


SEEDS = (_row("manual_seed", _manual_seed), _row("initial_seed", _initial_seed))
STATES = (_row("get_rng_state", _get_rng_state), _row("set_rng_state", _set_rng_state))
