"""What `polyrank doctor` says of the machine."""

import dataclasses
import os
import resource

import psutil
from polyrank.doctor.machine import machine
from polyrank.process_ranks.room import why_no_room


def test_it_is_this_machine() -> None:
    found = machine()
    assert found.cores == len(os.sched_getaffinity(0)) <= found.cores_there
    assert found.memory == psutil.virtual_memory().total
    assert 0 < found.memory_free <= found.memory
    assert found.open_files in (None, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    assert not found.problems()


def test_room_is_what_run_reckons_with() -> None:
    ranks = machine().ranks_as_processes
    # Memory comes and goes between the two.
    assert why_no_room(max(ranks // 2, 1), is_asked_for=False) is None
    assert why_no_room(ranks * 2 + 64, is_asked_for=False) is not None


def test_no_room_is_a_problem() -> None:
    full = dataclasses.replace(machine(), ranks_as_processes=1)
    assert full.problems() == [
        "no two ranks have room as processes: free some memory, or use --world threads"
    ]
