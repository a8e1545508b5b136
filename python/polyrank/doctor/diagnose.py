"""Looks at all that `polyrank doctor` tells of."""

from __future__ import annotations

from polyrank.doctor.machine import machine
from polyrank.doctor.report import Diagnosis
from polyrank.doctor.self_tests import self_tests
from polyrank.doctor.versions import versions, why_nothing_loads

__all__ = ["diagnose"]


def diagnose(*, with_self_tests: bool) -> Diagnosis:
    """What there is, and where torch and polyrank load, what they do."""
    found = machine()
    why = why_nothing_loads()
    if why is not None:
        return Diagnosis(versions(), found, None, [], why)
    from polyrank.doctor.torch_build import torch_build
    from polyrank.world import worlds

    names = [world.name for world in worlds()] if with_self_tests else []
    # A world computes on one core, and starting Python and torch takes one for each.
    tests = self_tests(names, num_at_once=found.cores)
    return Diagnosis(versions(), found, torch_build(), tests)
