"""What is known not to work yet, with the reason.

The list may only shrink: an entry whose check passes fails the test.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gap:
    """One operator's check ("forward and backward", "in-place" or "out") that fails.

    With `ways`, all other ways must pass. With `only_in_sweep`, the quick samples must pass.
    """

    check: str
    op: str
    reason: str
    ways: tuple[str, ...] = ("distinct", "shared", "two_cohorts", "one_distinct")
    only_in_sweep: bool = False


_SUBCLASS_PATH = (
    "above our kernel, PyTorch asks whether an operand is a tensor subclass and then computes "
    "in another order: "
)

GAPS: tuple[Gap, ...] = (
    Gap(
        "forward and backward",
        "tensor_split",
        "reads the indices off the memory of a tensor, above our kernel: refused with an error",
    ),
    Gap(
        "forward and backward",
        "nn.functional.one_hot",
        "without num_classes it sizes its result by a C++ int, the maximum: a DivergenceError",
        ways=("distinct", "two_cohorts"),
    ),
    Gap(
        "forward and backward",
        "prod",
        _SUBCLASS_PATH + "the gradient differs in its last bits",
        ways=("distinct", "shared", "two_cohorts"),
    ),
    Gap(
        "forward and backward",
        "masked_fill",
        _SUBCLASS_PATH + "the gradient of the value differs in its last bits",
    ),
    Gap(
        "forward and backward",
        "ormqr",
        _SUBCLASS_PATH + "the gradient has other strides",
    ),
    Gap(
        "out",
        "norm.nuc",
        _SUBCLASS_PATH + "the result differs in its last bits",
        ways=("distinct", "two_cohorts"),
    ),
    Gap(
        "out",
        "linalg.cond",
        _SUBCLASS_PATH + "the result differs in its last bits",
        ways=("distinct", "shared", "two_cohorts"),
    ),
    Gap(
        "out",
        "linalg.matrix_rank",
        _SUBCLASS_PATH + "and then leaves out= unwritten",
        ways=("distinct", "shared", "two_cohorts"),
    ),
    Gap(
        "out",
        "linalg.matrix_rank.hermitian",
        _SUBCLASS_PATH + "and then leaves out= unwritten",
        ways=("distinct", "shared", "two_cohorts"),
    ),
)

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


def gap_of(check: str, op: str, *, sweep: bool) -> Gap | None:
    """The entry for a check of an operator, if there is one for this form of it."""
    for gap in GAPS:
        if (gap.check, gap.op) == (check, op) and (sweep or not gap.only_in_sweep):
            return gap
    return None
