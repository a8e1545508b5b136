"""Prints the seconds of a program on JAX's forced host devices, which take all cores.

Usage: jax_devices.py PROGRAM NUM_DEVICES NUM_ROUNDS SIZE...

`work ROWS INNER COLUMNS` is what work_figures.py measures; any other program is a collective of
collective_figures.py on NUM_ELEMENTS floats a device.
"""

import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any

program, num_devices, num_rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sizes = [int(size) for size in sys.argv[4:]]
# XLA reads it when it is loaded.
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={num_devices}"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402
from jax import lax  # noqa: E402
from jax import numpy as jnp  # noqa: E402
from jax.sharding import Mesh, NamedSharding, PartitionSpec  # noqa: E402


def work(x: Any, w: Any) -> tuple[Any, Any]:
    for _ in range(4):
        x = jax.nn.relu(x @ w)
    return x, lax.psum(w, "ranks")


def all_to_all(x: Any) -> Any:
    return lax.all_to_all(x, "ranks", split_axis=0, concat_axis=0, tiled=True)


# A device's part of the operands, joined along the first dimension, and of the results.
PROGRAMS: dict[str, Callable[..., Any]] = {
    "work": work,
    "all_reduce": lambda x: lax.psum(x, "ranks"),
    "all_gather_single": lambda x: lax.all_gather(x, "ranks", tiled=True),
    "reduce_scatter_single": lambda x: lax.psum_scatter(x, "ranks", tiled=True),
    "all_to_all_single": all_to_all,
}

mesh = Mesh(jax.devices(), ("ranks",))
split = PartitionSpec("ranks")
if program == "work":
    rows, inner, columns = sizes
    shapes = [(num_devices * rows, inner), (num_devices * inner, columns)]
    results: Any = (split, PartitionSpec())
else:
    shapes = [(num_devices * sizes[0],)]
    # Without the check that all devices have the same, an all_gather's result counts as split.
    results = split
on_devices = jax.jit(
    jax.shard_map(
        PROGRAMS[program],
        mesh=mesh,
        in_specs=tuple(split for _ in shapes),
        out_specs=results,
        check_vma=False,
    )
)
operands = [
    jax.device_put(jnp.ones(shape, jnp.float32) / shape[0], NamedSharding(mesh, split))
    for shape in shapes
]
jax.block_until_ready(on_devices(*operands))  # compiles

shortest = math.inf
for _ in range(num_rounds):
    start = time.perf_counter()
    jax.block_until_ready(on_devices(*operands))
    shortest = min(shortest, time.perf_counter() - start)
print(shortest)
