"""Seeds and states of the CPU's generator, of which each rank has its own while a mode is active."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

from polyrank import _C
from polyrank.errors import UsageError
from polyrank.lockstep_world.in_lockstep import with_mode
from polyrank.numbers.rank_dependent_numbers import number_of_ranks
from polyrank.replacing.row import Make, Row
from polyrank.tensor.active_modes import enabled_local_tensor_mode

__all__ = ["SEEDS", "STATES", "is_default"]


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


# Methods of `torch.default_generator`, the same object for all ranks; of other generators theirs.
_DefaultsOwn = Callable[..., Any]  # told the mode, theirs, and the arguments


def is_default(generator: Any) -> bool:
    """Whether it is the CPU's generator, which stands for the streams of all ranks."""
    default: Any = torch.default_generator
    return bool(generator._cdata == default._cdata)


def _of_default(own: _DefaultsOwn) -> Make:
    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def method(generator: Any, *args: Any) -> Any:
            mode = enabled_local_tensor_mode()
            if mode is None or not is_default(generator):
                return original(generator, *args)
            with mode.disable():
                return own(mode, functools.partial(original, generator), *args)

        return method

    return make


def _reseed(mode: Any, original: Callable[..., Any], *seed: int | torch.SymInt) -> Any:
    """`manual_seed(seed)` and `seed()`, of the CPU's streams alone."""
    if any(isinstance(number, torch.SymInt) for number in seed):
        mode._state.seed_on(torch.device("cpu"), _signed(*seed))  # type: ignore[arg-type]
        return torch.default_generator
    result = original(*seed)
    started = torch.default_generator.initial_seed()
    mode._state.seed_on(torch.device("cpu"), (started + 2**63) % 2**64 - 2**63)
    return result


def _clone_state(mode: Any, original: Callable[..., Any]) -> torch.Generator:
    """A generator with the default one's state, which is one generator: all ranks must have that state."""
    state = _C.reconcile(_get_rng_state(mode))
    clone: torch.Generator = original()
    clone.set_state(state)
    return clone


_WHY = "one generator stands for the streams of all ranks"


def _row(name: str, own: Callable[..., Any]) -> Row:
    return Row("torch.random", name, with_mode(_while_disabled(own)), _WHY)


def _method(name: str, own: _DefaultsOwn) -> Row:
    return Row("torch:Generator", name, _of_default(own), _WHY)


SEEDS = (
    _row("manual_seed", _manual_seed),
    _row("initial_seed", _initial_seed),
    _method("manual_seed", _reseed),
    _method("seed", _reseed),
    _method("initial_seed", lambda mode, _: _initial_seed(mode)),
)
STATES = (
    _row("get_rng_state", _get_rng_state),
    _row("set_rng_state", _set_rng_state),
    _method("get_state", lambda mode, _: _get_rng_state(mode)),
    _method("set_state", lambda mode, _, state: _set_rng_state(mode, state)),
    _method("clone_state", _clone_state),
)
