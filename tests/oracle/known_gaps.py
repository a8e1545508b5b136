"""What is known not to work yet, with the reason.

The list may only shrink: an entry whose check passes fails the test.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gap:
    """One operator's check ("forward and backward", "in-place" or "out") that fails.

    With `ways`, all other ways must pass.
    """

    check: str
    op: str
    reason: str
    ways: tuple[str, ...] = ("distinct", "shared", "two_cohorts", "one_distinct")


GAPS: tuple[Gap, ...] = ()

# Operators whose result is fresh memory: only its metadata can be compared.
UNINITIALIZED = frozenset(
    {
        "empty",
        "empty_like",
        "empty_permuted",
        "empty_strided",
        "new_empty",
        "new_empty_strided",
        "resize_",
        "resize_as_",
    }
)


def gap_of(check: str, op: str) -> Gap | None:
    """The entry for a check of an operator, if there is one."""
    return next((gap for gap in GAPS if (gap.check, gap.op) == (check, op)), None)
