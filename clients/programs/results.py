"""What a program of a client reports of each rank."""

from __future__ import annotations

import json
import sys
from typing import Any

import polyrank
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

# Floats are added as gloo adds them, whose values are compared with; for the whole process.
ORDER = polyrank.reduction_order("gloo")
ORDER.__enter__()


def report(**values: Any) -> None:
    """One line: this rank, and numbers as they are to the last bit.

    In lockstep a line for each rank, of values that all hold.
    """
    plain = {name: _plain(value) for name, value in values.items()}
    ranks = range(dist.get_world_size()) if _is_in("lockstep") else [dist.get_rank()]
    for rank in ranks:
        sys.stdout.write(f"RES {json.dumps({'rank': rank, **plain})}\n")
    sys.stdout.flush()


def is_fake() -> bool:
    """Whether one rank runs, and nothing is known of the others' shards."""
    return _is_in("fake")


def _is_in(name: str) -> bool:
    world = polyrank.current_world()
    return world is not None and world.name == name


def digest(module: torch.nn.Module) -> list[float]:
    """A number for each parameter, which a change of any of its elements changes."""
    return [_weighted_sum(parameter) for parameter in module.parameters()]


def _weighted_sum(parameter: torch.Tensor) -> float:
    whole = parameter.full_tensor() if isinstance(parameter, DTensor) else parameter
    values = whole.detach().cpu().double().flatten()
    return (values * torch.arange(1.0, values.numel() + 1, dtype=torch.double)).sum().item()


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().double().cpu().tolist()
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
