"""Runs a program once for each order of summation, and compares its losses."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from polyrank.divergence.checking import output_dropped
from polyrank.divergence.order.losses import Losses, told_of_backward
from polyrank.divergence.report import Report, identity_of
from polyrank.lockstep_world.lockstep import ReductionOrder, reduction_order
from polyrank.world import find_world
from polyrank.worlds.outcome import Outcome
from polyrank.worlds.run_options import RunOptions

__all__ = ["ORDERS", "CheckedOrders", "Envelope", "check_orders"]

ORDERS: tuple[ReductionOrder, ...] = get_args(ReductionOrder)
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Envelope:
    """Between which values one loss lies over all orders, and whose the two are."""

    number: int  # from 1
    lowest: float
    highest: float
    orders: tuple[str, str]

    @property
    def width(self) -> float:
        """Not a number where a loss is not finite in some order only."""
        return 0.0 if self.lowest == self.highest else self.highest - self.lowest


@dataclass
class CheckedOrders(Report):
    """What the runs gave."""

    title = "Losses by order of summation"

    options: RunOptions
    outcome: Outcome  # of the first run, or of the one that failed
    failed_order: str = ""
    losses: dict[str, Losses] = field(default_factory=dict)  # by order
    repeats: bool = True  # whether the same order gave the same losses again

    @property
    def exit_code(self) -> int:
        return self.outcome.exit_code

    def curves(self) -> dict[str, list[float]]:
        """Each order's losses, averaged over the ranks."""
        return {order: losses.curve() for order, losses in self.losses.items()}

    def envelope(self) -> list[Envelope]:
        """By loss."""
        curves = self.curves()
        result = []
        for number, values in enumerate(zip(*curves.values(), strict=False), 1):
            by_order = sorted(zip(values, curves, strict=True))
            (lowest, first), (highest, last) = by_order[0], by_order[-1]
            result.append(Envelope(number, lowest, highest, (first, last)))
        return result

    def widest(self) -> Envelope | None:
        """Where the losses are furthest apart."""
        return max(self.envelope(), key=lambda e: e.width, default=None)

    def text(self) -> str:
        if self.failed_order:
            return f"with the reduction order {self.failed_order}:\n{self.outcome.failure}"
        curves = self.curves()
        widest = self.widest()
        if widest is None:
            return "no loss to compare: the script never called backward() on one number\n"
        last = self.envelope()[-1]
        lines = [f"{'order':<18}{'first loss':>16}{f'loss {last.number}':>16}"]
        lines += [f"{o:<18}{c[0]:>16.9g}{c[last.number - 1]:>16.9g}" for o, c in curves.items()]
        for what, one in (("widest", widest), ("last", last)):
            lines.append(
                f"{what}: loss {one.number} is between {one.lowest:.9g} ({one.orders[0]}) and "
                f"{one.highest:.9g} ({one.orders[1]}), {one.width:.3g} apart"
            )
        lengths = {order: len(curve) for order, curve in curves.items()}
        if len(set(lengths.values())) > 1:
            lines.append(f"the script computes other numbers of losses by order: {lengths}")
        if not self.repeats:
            lines.append(
                "the script gives other losses in the same order too, so that these differences say "
                "nothing: seed what it draws"
            )
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            **identity_of(self.options),
            "exit_code": self.outcome.exit_code,
            "failed_order": self.failed_order or None,
            "repeats": self.repeats,
            "losses": {order: losses.of_ranks for order, losses in self.losses.items()},
            "envelope": [
                {
                    "loss": one.number,
                    "lowest": one.lowest,
                    "highest": one.highest,
                    "width": one.width,
                    "orders": list(one.orders),
                }
                for one in self.envelope()
            ],
        }

    def pictures(self) -> list[Any]:
        """How far each order's losses are from those of the first."""
        from plotly import graph_objects

        curves = self.curves()
        figure = graph_objects.Figure()
        first = next(iter(curves.values()), [])
        for order, curve in curves.items():
            differences = [own - other for own, other in zip(curve, first, strict=False)]
            figure.add_scatter(
                x=list(range(1, len(differences) + 1)), y=differences, name=order, mode="lines"
            )
        figure.update_layout(
            title=f"Losses, less those of the order {next(iter(curves), '')}",
            xaxis_title="loss",
            yaxis_title="difference",
        )
        return [figure]


def check_orders(
    options: RunOptions,
    orders: Sequence[ReductionOrder] = ORDERS,
    *,
    channels: int = 1,
    ranks_per_node: int | None = None,
    done: Callable[[str], None] = lambda order: None,
) -> CheckedOrders:
    """Run the script once for each order, and the first order twice. Only the first run prints.

    `done` is told each run that ended.

    Raises:
        UsageError: as `polyrank.reduction_order`.
    """

    def run(order: ReductionOrder) -> tuple[Losses, Outcome]:
        losses = Losses()
        with (
            reduction_order(order, channels=channels, ranks_per_node=ranks_per_node),
            told_of_backward(losses),
        ):
            outcome = find_world(options.world).run(options)
        done(order)
        return losses, outcome

    checked: CheckedOrders | None = None
    for order in (orders[0], *orders):
        with output_dropped() if checked else contextlib.nullcontext():
            losses, outcome = run(order)
        if checked is None:
            checked = CheckedOrders(options, outcome)
        elif order == orders[0]:
            checked.repeats = losses.of_ranks == checked.losses[order].of_ranks
        checked.losses[order] = losses
        if outcome.exit_code:
            checked.outcome, checked.failed_order = outcome, order
            break
    assert checked is not None  # noqa: S101
    return checked
