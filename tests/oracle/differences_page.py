"""The programs of docs/differences.md, for whoever runs them: processes, polyrank, the simulator.

A program is a block of the page. It has `rank` (the rank-dependent int in the simulators) and
`NAMES`, leaves what is compared in `result`, and ends with the outcomes as comments:

    # processes:       [0, 1, 2, 3]          what each of 4 gloo processes gets, or an error's name
    # polyrank:        DivergenceError       if it is not the same
    # LocalTensorMode: [0, 0, 0, 0]
    # torch 2.14:      [0, 1, 2, 3]          what its LocalTensorMode gives, and that of later ones; likewise torch 2.15

`processes: -` is a program that no gloo process can run; `an error` is one or another.
"""

from __future__ import annotations

import ast
import copy
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as funcol
from polyrank.torch_features import simulator_patches_get_rank
from torch.distributed._local_tensor import _c10d
from torch.distributed.device_mesh import init_device_mesh
from torch.utils import _pytree as pytree
from torch.utils.checkpoint import checkpoint

PAGE = Path(__file__).parents[2] / "docs" / "differences.md"
WORLD_SIZE = 4
NAMES = {
    "checkpoint": checkpoint,
    "copy": copy,
    "dist": dist,
    "funcol": funcol,
    "init_device_mesh": init_device_mesh,
    "io": io,
    "np": np,
    "torch": torch,
}
_ENTRY = re.compile(
    r"^### (?P<title>.*?)$(?P<text>.*?)^```python\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL
)
_OUTCOME = re.compile(
    r"^# (processes|polyrank|LocalTensorMode|torch 2.1[45]): +(.*)$", re.MULTILINE
)

# Whose LocalTensorMode differs from that of earlier ones, the latest first; and whether the installed one is such.
SIMULATORS = {
    "torch 2.15": hasattr(_c10d, "_reduce_op_and_factor"),
    "torch 2.14": simulator_patches_get_rank(),
}

# A list with a value for each rank, or the name of an error.
Outcome = Any


@dataclass(frozen=True)
class Difference:
    """One entry of the page."""

    title: str
    code: str
    outcomes: dict[str, str]  # as they stand on the page

    @property
    def runs_in_processes(self) -> bool:
        return self.outcomes["processes"] != "-"

    def outcome(self, world: str) -> Outcome:
        """What the page says of "processes", "polyrank" or "LocalTensorMode"."""
        text = self.outcomes.get(world, self.outcomes["processes"])
        return ast.literal_eval(text) if text.startswith("[") else text

    def outcome_in_simulator(self) -> Outcome:
        """What the page says of the installed torch's LocalTensorMode."""
        newer = [
            torch for torch, is_there in SIMULATORS.items() if is_there and torch in self.outcomes
        ]
        return self.outcome(newer[0] if newer else "LocalTensorMode")

    def run(self, rank: Any, zero: torch.Tensor, on_root: Callable[[list[Any], int], Any]) -> Any:
        """The program's `result`."""
        names = {**NAMES, "rank": rank, "zero": zero, "on_root": on_root}
        exec(compile(self.code, self.title, "exec"), names)
        return names["result"]


def differences() -> list[Difference]:
    """The page's entries."""
    return [
        Difference(entry["title"], entry["code"], dict(_OUTCOME.findall(entry["code"])))
        for entry in _ENTRY.finditer(PAGE.read_text())
    ]


def as_numbers(tree: Any) -> Any:
    """The same with lists in the place of tensors."""
    return pytree.tree_map_only(torch.Tensor, lambda tensor: tensor.tolist(), tree)


class ProcessSuite:
    """What collectives.gloo_processes runs: each program's result, or the name of its error."""

    def __init__(self) -> None:
        entries = [entry for entry in differences() if entry.runs_in_processes]
        self.programs = {entry.title: self._program(entry) for entry in entries}

    @staticmethod
    def make_groups() -> dict[str, dist.ProcessGroup]:
        return {}

    @staticmethod
    def _program(entry: Difference) -> Callable[..., Any]:
        def run(make: object, groups: object) -> Any:
            rank = dist.get_rank()
            torch.manual_seed(0)
            try:
                result = entry.run(
                    rank, torch.zeros(()), lambda value, root: value if rank == root else None
                )
            except (RuntimeError, ValueError) as error:
                return type(error).__name__
            return as_numbers(result)

        return run


SUITE = ProcessSuite()
