"""The threads world: each rank is a thread of this process, and may do what it likes."""

from polyrank.rank_threads.run_ranks import RanksFailedError, run_ranks

__all__ = ["RanksFailedError", "run_ranks"]
