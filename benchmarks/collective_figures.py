"""Each collective alone, on tensors that differ on all ranks, beside a C++ loop for its results."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from figure import Figure, Skipped
from jax_devices import jax_seconds, why_not
from loops import run_loops
from timing import Case, Effort, shortest_seconds
from worlds import World, grouped_world, polyrank_lockstep, pytorch_lockstep

_SECTION = "collectives"
_NUM_RANKS = (8, 128, 512)
_NUM_ELEMENTS = 4096  # float32: 16 KiB on each rank
_SIMULATORS = {"polyrank": polyrank_lockstep, "pytorch": pytorch_lockstep}


@dataclass(frozen=True)
class _Collective:
    name: str  # as collective_loops.cc has it
    statement: str
    # What the statement uses besides x, each rank's tensor of _NUM_ELEMENTS.
    make: Callable[[int], dict[str, Any]] = lambda num_ranks: {}
    # Whether it leaves x as it is. Else each call needs a fresh one.
    keeps_x: bool = True
    on_jax: bool = False


def _output(num_elements: Callable[[int], int]) -> Callable[[int], dict[str, Any]]:
    return lambda num_ranks: {"out": torch.zeros(num_elements(num_ranks))}


def _list(num_ranks: int) -> dict[str, Any]:
    tensors = [torch.zeros(_NUM_ELEMENTS) for _ in range(num_ranks)]
    return {"tensors": tensors, "out": torch.zeros(_NUM_ELEMENTS)}


def _ring(num_ranks: int) -> dict[str, Any]:
    rank = dist.get_rank()
    after, before = (rank + 1) % num_ranks, (rank + num_ranks - 1) % num_ranks
    return {"out": torch.zeros(_NUM_ELEMENTS), "after": after, "before": before}


_COLLECTIVES = (
    _Collective("all_reduce", "dist.all_reduce(next(xs))", keeps_x=False, on_jax=True),
    _Collective("reduce", "dist.reduce(next(xs), 0)", keeps_x=False),
    _Collective("broadcast", "dist.broadcast(next(xs), 0)", keeps_x=False),
    _Collective(
        "all_gather_single",
        "dist.all_gather_single(out, x)",
        _output(lambda num_ranks: num_ranks * _NUM_ELEMENTS),
        on_jax=True,
    ),
    _Collective(
        "reduce_scatter_single",
        "dist.reduce_scatter_single(out, x)",
        _output(lambda num_ranks: _NUM_ELEMENTS // num_ranks),
        on_jax=True,
    ),
    _Collective(
        "all_to_all_single",
        "dist.all_to_all_single(out, x)",
        _output(lambda num_ranks: _NUM_ELEMENTS),
        on_jax=True,
    ),
    _Collective("gather", "dist.gather(x, tensors)", _list),
    _Collective("scatter", "dist.scatter(out, tensors)", _list),
    _Collective("send and recv", "dist.send(x, after); dist.recv(out, before)", _ring),
)


def collective_figures(effort: Effort, program: Path) -> Iterator[Figure | Skipped]:
    if not program.is_file():
        yield Skipped(_SECTION, f"{program} is not built; `make bench` builds it")
        return
    loops = {
        (row["collective"], row["num_ranks"]): row["seconds"]
        for row in run_loops(program, effort, _NUM_ELEMENTS, *_NUM_RANKS)
    }
    if (reason := why_not()) is not None:
        yield Skipped(_SECTION, reason)
    for collective in _COLLECTIVES:
        simulators = list(_SIMULATORS)
        if (failure := _failure_of_the_peer(collective)) is not None:
            simulators.remove("pytorch")
            yield Skipped(
                _SECTION, f"LocalTensorMode does not run {collective.name} here: {failure}"
            )
        for num_ranks in _NUM_RANKS:
            cases = [_case(collective, simulator, num_ranks) for simulator in simulators]
            seconds = shortest_seconds(cases, effort)
            yield Figure(
                _SECTION,
                f"{collective.name} of 16 KiB, distinct ranks",
                seconds["polyrank"],
                "seconds",
                num_ranks=num_ranks,
                base=loops[collective.name, num_ranks],
                base_name="C++ loop",
                peer_value=seconds.get("pytorch"),
                jax_value=jax_seconds(collective.name, num_ranks, _NUM_ELEMENTS)
                if collective.on_jax
                else None,
            )


def _case(collective: _Collective, simulator: str, num_ranks: int) -> Case:
    # What makes its operand the same on all ranks needs a fresh one in each call.
    setup = "pass" if collective.keeps_x else "xs = iter([x.clone() for _ in range(count)])"
    return Case(simulator, collective.statement, _world(collective, simulator, num_ranks), setup)


def _world(collective: _Collective, simulator: str, num_ranks: int) -> World:
    def names(mode: Any) -> dict[str, Any]:
        x = mode.rank_map(lambda rank: torch.full((_NUM_ELEMENTS,), float(rank)))
        return {"dist": dist, "x": x, **collective.make(num_ranks)}

    return grouped_world(functools.partial(_SIMULATORS[simulator], num_ranks), names)


def _failure_of_the_peer(collective: _Collective) -> str | None:
    """The first line of what PyTorch's simulator says of the collective, if it can't run it."""
    try:
        with _world(collective, "pytorch", 2)() as names:
            x = names["x"]
            exec(collective.statement, {**names, "xs": iter([x])})
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    return None
