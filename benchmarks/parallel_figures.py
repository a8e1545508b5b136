"""A training step of examples/llama's model under each kind of parallelism."""

from __future__ import annotations

from collections.abc import Iterator

from figure import Figure, Skipped
from probe import ProbeError, run_probe

_SECTION = "parallel"
_RANKS = (4, 8, 16, 64)
# Times the floor, at 8 ranks.
_BUDGETS = {"tensor": 2.0, "fsdp": 3.0}
_NAMES = {
    "tensor": "DTensor tensor and sequence parallel",
    "fsdp": "FSDP2",
    "data": "data parallel by all_reduce",
}


def parallel_figures(num_steps: int) -> Iterator[Figure | Skipped]:
    for program, name in _NAMES.items():
        peer_failure = None
        for num_ranks in _RANKS:
            arguments = (program, str(num_ranks), str(num_steps))
            peer = None
            if peer_failure is None:
                try:
                    peer = run_probe("parallel_step", "pytorch", *arguments)
                except ProbeError as error:
                    peer_failure = str(error)
            yield Figure(
                _SECTION,
                f"step, {name}",
                run_probe("parallel_step", "polyrank", *arguments),
                "seconds",
                num_ranks=num_ranks,
                base=run_probe("parallel_step", "floor", *arguments),
                base_name="one fake rank",
                peer_value=peer,
                budget=_BUDGETS.get(program) if num_ranks == 8 else None,
            )
        if peer_failure is not None:
            yield Skipped(_SECTION, f"LocalTensorMode does not run {name}: {peer_failure}")
