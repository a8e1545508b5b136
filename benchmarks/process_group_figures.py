"""Figures of dist2: one collective through a group that is a value, beside PyTorch's _dist2."""

from __future__ import annotations

from collections.abc import Iterator

from figure import Figure, Skipped
from probe import ProbeError, run_probe

_WORLDS = (("gloo", 2), ("gloo", 4), ("threads", 8), ("lockstep", 8), ("fake", 8))


def process_group_figures() -> Iterator[Figure | Skipped]:
    for world, num_ranks in _WORLDS:
        arguments = world, str(num_ranks)
        peer = None
        if world == "gloo":
            try:
                peer = run_probe("process_group", "pytorch", *arguments)
            except ProbeError as error:  # processes of PyTorch's often abort as they end
                yield Skipped("dist2", f"PyTorch, {num_ranks} processes: {error}")
        yield Figure(
            "dist2",
            f"all_reduce of 4 floats, {world}",
            run_probe("process_group", "polyrank", *arguments),
            "seconds",
            num_ranks=num_ranks,
            peer_value=peer,
        )
