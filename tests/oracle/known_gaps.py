"""What is known not to work yet, with the reason; and where plain tensors are no reference.

The lists may only shrink: an entry whose check passes without it fails the test.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gap:
    """One operator's check ("forward and backward", "second derivatives", "forward",
    "in-place" or "out") that fails.

    With `ways`, all other ways must pass.
    """

    check: str
    op: str
    reason: str
    ways: tuple[str, ...] = ("distinct", "shared", "two_cohorts", "one_distinct")


GAPS: tuple[Gap, ...] = tuple(
    gap
    for check in ("forward and backward", "second derivatives", "forward")
    for gap in (
        Gap(
            check,
            "tensor_split",
            "reads the indices off the memory of a tensor, above our kernel: refused with an error",
        ),
        Gap(
            check,
            "nn.functional.one_hot",
            "without num_classes it sizes its result by a C++ int, the maximum: a DivergenceError",
            ways=("distinct", "two_cohorts"),
        ),
    )
)

# Checks of operators where PyTorch, above our kernel, asks whether an operand is a tensor subclass
# and then computes in another way: last bits, strides, or whether it writes `out=` differ. There
# each rank must hold what it holds as a tensor subclass of PyTorch's own: its LocalTensor.
OF_SUBCLASSES = frozenset(
    {
        ("in-place", "masked_fill"),
    }
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


def gap_of(check: str, op: str) -> Gap | None:
    """The entry for a check of an operator, if there is one."""
    return next((gap for gap in GAPS if (gap.check, gap.op) == (check, op)), None)
