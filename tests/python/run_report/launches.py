"""Launches that tests draw."""

from polyrank.run_report.recorded import Launch, num_ranks_in

__all__ = ["launch"]


def launch(ranks: str = "0", start: float = 0.0, **given: object) -> Launch:
    """One of 100 us, with what is given."""
    fields: dict[str, object] = {
        "kind": "all_reduce",
        "group": "world",
        "sequence": 0,
        "ranks": ranks,
        "num_ranks": num_ranks_in(ranks),
        "num_cohorts": 1,
        "module": "layers.0",
        "phase": "forward",
        "source": "train.py:7",
        "wire_bytes": 1000,
        "start_us": start,
        "end_us": start + 100.0,
        "waited_us": None,
    }
    return Launch(**fields | given)  # type: ignore[arg-type]
