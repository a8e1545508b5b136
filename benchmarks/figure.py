"""A measured figure, beside its peer and its budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Figure:
    """One row of the result."""

    section: str
    work: str
    value: float  # in `unit`
    unit: Literal["seconds", "bytes"]
    num_ranks: int | None = None
    # `value` is also given as a multiple of this, measured in the same run.
    base: float | None = None
    base_name: str | None = None
    # PyTorch's LocalTensorMode at the same work.
    peer_value: float | None = None
    # JAX's forced host devices at the same work, on all cores.
    jax_value: float | None = None
    # Upper limit of `ratio`, or of `value` where there is no base.
    budget: float | None = None

    @property
    def ratio(self) -> float | None:
        return None if self.base is None else self.value / self.base

    @property
    def peer_ratio(self) -> float | None:
        if self.base is None or self.peer_value is None:
            return None
        return self.peer_value / self.base

    @property
    def is_within_budget(self) -> bool | None:
        if self.budget is None:
            return None
        return (self.value if self.ratio is None else self.ratio) <= self.budget


@dataclass(frozen=True)
class Skipped:
    """Work that could not be measured, and why, in a sentence."""

    section: str
    reason: str
