"""The threads world: each rank is a thread of this process, and may do what it likes."""

from polyrank.rank_threads.run_ranks import run_ranks, run_script
from polyrank.rank_threads.scripts import Script

__all__ = ["Script", "run_ranks", "run_script"]
