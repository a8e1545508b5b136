"""What the programs of this folder say: what each rank holds, the same words in every world."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor


def report(**values: Any) -> None:
    """Write each rank's values, in the order of ranks, into the file that $REPORT_FILE names.

    Tensors, numbers, strings, and lists and dicts of them. All ranks call it, with the same names.
    """
    by_rank: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(by_rank, _local(values))
    Path(os.environ["REPORT_FILE"]).write_text(json.dumps(_plain(by_rank)))


def caught(run: Callable[[], Any]) -> str:
    """The class of what `run` raises, or "nothing"."""
    try:
        run()
    except Exception as error:  # noqa: BLE001
        return type(error).__name__
    return "nothing"


def _local(value: Any) -> Any:
    """The value with each DTensor as what the rank holds of it."""
    if isinstance(value, list | tuple):
        return [_local(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _local(entry) for key, entry in value.items()}
    if isinstance(value, DTensor):
        value = value.to_local()
    return value.detach() if isinstance(value, torch.Tensor) else value


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, torch.Tensor):
        return [str(value.dtype), list(value.shape), value.flatten().tolist()]
    return value
