"""What PyTorch's own DistributedTest passes on gloo's processes it passes in worlds of ranks on their own.

POLYRANK_SWEEP=1: all of its tests, and gloo's outcomes beside. Quick: those of `QUICK`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "distributed_tests.py"
SWEEP = os.environ.get("POLYRANK_SWEEP") == "1"
QUICK = (
    "test_all_gather_object_default_pg",
    "test_all_to_all_single_unequal_split",
    "test_batch_isend_irecv_gloo",
    "test_barrier_full_group",
    "test_all_gather_coalesced_with_empty",
    "test_accumulate_gradients_no_sync_allreduce_hook",
    "test_DistributedDataParallel_requires_grad",
    "test_isend",
    "test_monitored_barrier_gloo",
    "test_monitored_barrier_gloo_rank_0_timeout",
    "test_monitored_barrier_gloo_subgroup",
    "test_gather_object",
    "test_get_future",
    "test_scatter_complex",
    "test_scatter_object_list",
    "test_send_recv_any_source",
)
# Tests that gloo passes and a world does not, and why.
FAILING: dict[str, dict[str, str]] = {
    "processes": {
        "test_barrier_timeout_full_group": "a group's time-out is not kept: who can't go on is told",
        "test_ddp_logging_data_cpu": "DDP logs the number of gloo's threads",
    },
    "threads": {
        "test_barrier_timeout_full_group": "that nobody can go on is told before time is up",
        "test_ddp_logging_data_cpu": "DDP logs the number of gloo's threads",
        "test_get_rank": "counts processes by their numbers",
    },
}
WORLDS = sorted(FAILING)
# What threads refuse, in half of the tests: all ranks profile at once.
REFUSED = "starts a profiler while that of"


def outcomes(world: str, names: tuple[str, ...]) -> dict[str, str]:
    """What became of each test; of all if none is named."""
    done = subprocess.run(
        (sys.executable, str(PROGRAM), world, *names),
        capture_output=True,
        text=True,
        check=False,
        timeout=3000,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    pairs = (line.split(" ", 1) for line in done.stdout.splitlines() if line.startswith("test_"))
    return dict(pairs)


@pytest.mark.skipif(not SWEEP, reason="takes minutes: POLYRANK_SWEEP=1")
def test_what_gloo_passes() -> None:
    of_gloo = outcomes("gloo", ())
    passed = {name for name, outcome in of_gloo.items() if outcome == "passed"}
    assert len(passed) > 80
    for world in WORLDS:
        ours = outcomes(world, ())
        failed = {
            name: ours[name]
            for name in passed
            if ours[name] != "passed" and not (world == "threads" and REFUSED in ours[name])
        }
        assert failed.keys() == FAILING[world].keys(), (world, failed)


@pytest.mark.parametrize("world", WORLDS)
def test_some_of_them(world: str) -> None:
    names = tuple(name for name in QUICK if name not in FAILING[world])
    failed = {
        name: outcome
        for name, outcome in outcomes(world, names).items()
        if outcome != "passed" and not (world == "threads" and REFUSED in outcome)
    }
    assert not failed
