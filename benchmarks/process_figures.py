"""Figures that each need processes of their own: training, memory, loading polyrank."""

from __future__ import annotations

from collections.abc import Iterator

from figure import Figure, Skipped
from probe import ProbeError, run_probe

_TRAINING_RANKS = (4, 16, 64)
_MEMORY_RANKS = 64
_MEMORY_TENSOR_BYTES = 2.0**20
_IMPORT_BUDGET_SECONDS = 0.150
# "No slower" but for what two equal programs differ by when each is run a few times.
_NO_SLOWER = 1.05


def training_figures(num_epochs: int) -> Iterator[Figure | Skipped]:
    """A step of the digits example, beside the same step in one plain process of one rank."""
    epochs = str(num_epochs)
    plain = run_probe("training_step", "plain", "1", epochs)
    yield Figure("training", "step of train_digits.py, one plain rank", plain, "seconds")
    peer_failure = None
    for num_ranks in _TRAINING_RANKS:
        peer = None
        if peer_failure is None:
            try:
                peer = run_probe("training_step", "pytorch", str(num_ranks), epochs)
            except ProbeError as error:
                peer_failure = str(error)
        yield Figure(
            "training",
            "step of train_digits.py",
            run_probe("training_step", "polyrank", str(num_ranks), epochs),
            "seconds",
            num_ranks=num_ranks,
            base=plain,
            base_name="one rank",
            peer_value=peer,
        )
    if peer_failure is not None:
        yield Skipped("training", f"LocalTensorMode does not run the example: {peer_failure}")


def memory_figures() -> Iterator[Figure]:
    for kind in ("replicated", "distinct"):
        ours, theirs = (
            run_probe("memory", simulator, kind, str(_MEMORY_RANKS))
            for simulator in ("polyrank", "pytorch")
        )
        yield Figure(
            "memory",
            f"per rank, {kind} 1 MiB tensor",
            ours,
            "bytes",
            num_ranks=_MEMORY_RANKS,
            base=_MEMORY_TENSOR_BYTES,
            base_name="plain tensor",
            peer_value=theirs,
        )


def loading_figures(num_processes: int) -> Iterator[Figure]:
    """What a program pays for polyrank while it uses none of it."""
    without = with_polyrank = import_seconds = float("inf")
    for _ in range(num_processes):
        without = min(without, run_probe("plain_add"))
        with_polyrank = min(with_polyrank, run_probe("plain_add", "--with-polyrank"))
        import_seconds = min(import_seconds, run_probe("import_time"))
    yield Figure(
        "loading",
        "plain 4x4 add with polyrank imported",
        with_polyrank,
        "seconds",
        base=without,
        base_name="without",
        budget=_NO_SLOWER,
    )
    yield Figure(
        "loading",
        "import of polyrank after torch",
        import_seconds,
        "seconds",
        budget=_IMPORT_BUDGET_SECONDS,
    )
