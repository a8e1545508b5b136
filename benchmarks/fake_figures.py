"""Figures of the fake world, beside PyTorch's fake process group."""

from __future__ import annotations

from collections.abc import Iterator

from figure import Figure, Skipped
from probe import ProbeError, run_probe

_SIZES = (8, 4096, 100_000, 1_048_576)
_WORK = {
    "start": "init_process_group",
    "mesh": "4-D mesh, two dims flattened, two sliced",
    "rank": "become another rank, with that mesh",
    "step": "TP + FSDP2 step on FakeTensors",
}
_BECOME_BUDGET_SECONDS = 1e-4


def fake_figures() -> Iterator[Figure | Skipped]:
    for work, name in _WORK.items():
        for world_size in _SIZES:
            for rank in (0, world_size - 1) if work == "step" else (world_size - 1,):
                arguments = work, str(world_size), str(rank)
                try:
                    peer = run_probe("fake_world", "pytorch", *arguments)
                except ProbeError as error:
                    peer = None
                    yield Skipped("fake", f"PyTorch, {name}, rank {rank:,}: {error}")
                yield Figure(
                    "fake",
                    f"{name}, rank {rank:,}" if work == "step" else name,
                    run_probe("fake_world", "polyrank", *arguments),
                    "seconds",
                    num_ranks=world_size,
                    peer_value=peer,
                    budget=_BECOME_BUDGET_SECONDS if work == "rank" else None,
                )
