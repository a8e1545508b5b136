"""JAX's forced host devices at the same work: a column that is there where JAX is installed."""

from __future__ import annotations

import functools
import importlib.util

from probe import ProbeError, run_probe

# The timing of each is a process of its own, which compiles first.
_NUM_ROUNDS = 10


@functools.cache
def why_not() -> str | None:
    """Why JAX can't be measured, or None if it can."""
    if importlib.util.find_spec("jax") is None:
        return "JAX is not installed; its column is left out"
    try:
        run_probe("jax_devices", "all_reduce", "2", "1", "2")
    except ProbeError as error:
        return f"JAX's forced host devices do not run: {error}"
    return None


def jax_seconds(program: str, num_ranks: int, *sizes: int) -> float | None:
    """Seconds of one of probes/jax_devices.py's programs; None where it can't be measured."""
    if why_not() is not None:
        return None
    arguments = [str(number) for number in (num_ranks, _NUM_ROUNDS, *sizes)]
    return run_probe("jax_devices", program, *arguments)
