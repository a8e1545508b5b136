"""What the installed torch has of what polyrank stands on, asked by feature."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import torch
import torch.distributed as dist

from polyrank import _C
from polyrank.replacing.layers import ALL, VIRTUAL_GPU
from polyrank.replacing.place import place_of
from polyrank.replacing.replacements import Replacements
from polyrank.replacing.row import Row
from polyrank.replacing.surface import NOT_THERE, differences

__all__ = ["TorchBuild", "torch_build"]


@dataclass(frozen=True)
class TorchBuild:
    """What this torch has, and what it lacks."""

    devices: list[str]  # that it was built for
    gpus: int  # that are there
    backends: list[str]  # of torch.distributed
    has_virtual_gpus: bool  # a build for GPUs leaves no room for them
    operators_lacking: list[str]  # of the table of collectives: another torch has them
    names_lacking: list[str]  # that are replaced in a torch that has them
    differs: list[str]  # sentences: names that are replaced and have other parameters, or are gone

    def problems(self) -> list[str]:
        """What may give wrong values, a sentence each."""
        return [f"{difference}: polyrank was not tried with this" for difference in self.differs]


def torch_build() -> TorchBuild:
    """The one that is installed."""
    is_for_gpus: bool = torch.backends.cuda.is_built()  # type: ignore[no-untyped-call]
    layers = [layer for layer in ALL if layer is not VIRTUAL_GPU or not is_for_gpus]
    lacking, differing = _names(layers)
    backends = {"gloo": dist.is_gloo_available, "nccl": dist.is_nccl_available}
    return TorchBuild(
        devices=["cpu", *(["cuda"] if is_for_gpus else [])],
        gpus=torch.cuda.device_count() if is_for_gpus else 0,
        backends=[name for name, is_there in backends.items() if is_there()],
        has_virtual_gpus=not is_for_gpus,
        operators_lacking=_operators_lacking(),
        names_lacking=lacking,
        differs=differing,
    )


def _names(layers: list[Replacements]) -> tuple[list[str], list[str]]:
    """Names that are replaced where torch has them, and does not; and what is otherwise."""
    lacking: list[str] = []
    found: list[tuple[Row, object]] = []
    for row in (row for layer in layers for row in layer.rows if row.is_of_torch):
        try:
            importlib.import_module(row.module)
            place = place_of(row)
        except ModuleNotFoundError as missing:
            if not (missing.name or "").startswith("torch"):
                continue  # torch's tests need packages of their own; without them no program has the name
            place = None
        except (ImportError, AttributeError):
            place = None
        if place is None and row.is_optional:
            lacking.append(str(row))
        found.append((row, NOT_THERE if place is None else place.target.original))
    return sorted(set(lacking)), sorted(set(differences(found)))


def _operators_lacking() -> list[str]:
    lacking = []
    for row in _C.collective_table():
        namespace, name = row["op_name"].split("::")
        if not hasattr(getattr(torch.ops, namespace), name):
            lacking.append(row["op_name"])
    return sorted(lacking)
