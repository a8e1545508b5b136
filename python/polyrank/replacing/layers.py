"""All worlds that replace names of torch, from the lowest layer to the highest."""

from __future__ import annotations

import itertools

from polyrank.replacing.replacements import Replacements, Table

__all__ = [
    "ALL",
    "FAKE",
    "FAKE_RUN",
    "INSTALL",
    "LOCKSTEP_BLOCK",
    "LOCKSTEP_DRAWS",
    "LOCKSTEP_GROUPS",
    "LOCKSTEP_MESHES",
    "LOCKSTEP_MODE",
    "LOCKSTEP_RUN",
    "LOCKSTEP_SEEDS",
    "LOSSES",
    "PROCESSES",
    "PROCESS_TESTS",
    "REAL_RUN",
    "THREADS",
    "VIRTUAL_GPU",
    "WITHOUT_BYTES",
]

_layers = itertools.count()


def _table(name: str, *, after: str | None = None) -> Table:
    return Table(f"polyrank.{name}" if ":" in name else f"polyrank.{name}:ROWS", after)


def _layer(name: str, *tables: str | Table) -> Replacements:
    known = tuple(table if isinstance(table, Table) else _table(table) for table in tables)
    return Replacements(name, next(_layers), known)


_CONTEXT_PARALLEL = "torch.distributed.tensor.experimental._context_parallel._sharding_rules"

INSTALL = _layer(
    "install()",
    "install.names",
    "install.fully_shard",
    "install.data_parallel",
    _table("install.checkpoint", after="torch.distributed.checkpoint"),
    _table("install.dtensor_equal", after="torch.distributed.tensor"),
    "install.threaded_tests",
)
VIRTUAL_GPU = _layer(
    "virtual GPUs",
    "virtual_gpu.dtensor_random",
    "virtual_gpu.fake_tensors",
    "virtual_gpu.foreign_kernels",
    "virtual_gpu.placing",
    "virtual_gpu.profilers",
    "virtual_gpu.mesh_device",
    "virtual_gpu.uncompiled",
)
WITHOUT_BYTES = _layer(
    "virtual GPUs without bytes",
    "virtual_gpu.uncompiled:WITHOUT_BYTES",
    "virtual_gpu.assumed_answers",
    "virtual_gpu.custom_operators",
    "forecast.data_parallel",
)
FAKE = _layer(
    "fake world",
    "fake.functions",
    "fake.objects",
    "fake.mesh",
    "lockstep_world.groups.mesh_scatter:FAKE",
)
# A world that is within another lies above it: a lockstep run may happen in a process that has
# installed polyrank, whose fake world is then left alone.
LOCKSTEP_GROUPS = _layer("lockstep: process groups", "lockstep_world.groups.process_groups")
LOCKSTEP_MESHES = _layer("lockstep: meshes", "lockstep_world.groups.mesh_answers")
LOCKSTEP_SEEDS = _layer("lockstep: seeds", "lockstep_world.random_functions:SEEDS")
LOCKSTEP_MODE = _layer(
    "lockstep: a mode",
    "lockstep_world.random_functions:STATES",
    "lockstep_world.tensors_and_numbers",
    "numbers.number_classes",
    "numbers.number_methods",
    "lockstep_world.uncompiled_functions",
    "rank_text.names",
    "rank_text.numbers",
    "numbers.rank_dependent_functions",
    "lockstep_world.python_random:SEEDS",
    "lockstep_world.stores",
    "lockstep_world.threads",
    "any_world.spawned_ranks",
    "lockstep_world.groups.group_ranks",
    "lockstep_world.groups.group_members",
    "lockstep_world.rank_samples",
    "lockstep_world.tensor_classes",
    "lockstep_world.truncated_normal",
    "lockstep_world.groups.collective_functions",
    "lockstep_world.groups.object_collectives",
    "lockstep_world.groups.collectives_inside_torch",
    "lockstep_world.groups.mesh_scatter:LOCKSTEP",
)
# On with the mode, once a program has seeded one by a number that differs.
LOCKSTEP_DRAWS = _layer("lockstep: streams seeded by rank", "lockstep_world.python_random:DRAWS")
LOCKSTEP_BLOCK = _layer("polyrank.lockstep()", "any_world.default_group")
PROCESS_TESTS = _layer("pytest --polyrank-ranks", "install.process_tests")
PROCESSES = _layer("a rank's process", "process_ranks.spawning")
THREADS = _layer(
    "ranks as threads",
    "rank_threads.torch_globals",
    "rank_threads.compiled_functions",
    "rank_threads.forward_ad",
    _table("rank_threads.context_parallel", after=_CONTEXT_PARALLEL),
    "rank_threads.own_operators",
    "rank_threads.outside_waits",
    "rank_threads.own_loggers",
    "rank_threads.safe_globals",
    "rank_threads.started_threads",
    "rank_threads.profilers",
    "rank_threads.exit_functions",
)
LOCKSTEP_RUN = _layer(
    "polyrank run --world lockstep",
    "worlds.process_group:LOCKSTEP",
    "worlds.program_end",
)
# On with the run where there are GPUs.
RANKS_GPUS = _layer("lockstep: ranks' own GPUs", "virtual_gpu.rank_devices")
FAKE_RUN = _layer("polyrank run --world fake", "worlds.process_group:FAKE", "worlds.program_end")
REAL_RUN = _layer("polyrank run --world real", "worlds.real.nccl_without_gpus")
LOSSES = _layer("polyrank check order", "divergence.order.losses")

ALL = (
    INSTALL,
    VIRTUAL_GPU,
    WITHOUT_BYTES,
    FAKE,
    LOCKSTEP_GROUPS,
    LOCKSTEP_MESHES,
    LOCKSTEP_SEEDS,
    LOCKSTEP_MODE,
    LOCKSTEP_DRAWS,
    LOCKSTEP_BLOCK,
    PROCESS_TESTS,
    PROCESSES,
    THREADS,
    LOCKSTEP_RUN,
    RANKS_GPUS,
    FAKE_RUN,
    REAL_RUN,
    LOSSES,
)
