"""Random numbers of DTensors on virtual GPUs.

DTensor lets each shard draw from a place of its own in one stream, and replicas from the same. It finds
the places by a GPU's state, which is a seed and an offset. A virtual GPU's stream is a CPU generator's,
where a place is the number of numbers drawn before.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from polyrank import _C
from polyrank.replacing.row import Row, with_original

__all__ = ["ROWS", "tracker_of_its_own"]

_RANDOM = "torch.distributed.tensor._random"
_NUMBERS_PER_ELEMENT = 2  # of 32 bits, at most: the operators draw one or two
_ALIGNMENT = 4  # normals come in pairs, of two numbers each


@contextlib.contextmanager
def tracker_of_its_own() -> Iterator[None]:
    """A block in which DTensor finds out anew what draws for it: else that is who drew first in the process."""
    before = getattr(sys.modules.get(_RANDOM), "_rng_tracker", None)
    _set_tracker(None)
    try:
        yield
    finally:
        _set_tracker(before)


def _set_tracker(tracker: Any) -> None:
    if (random := sys.modules.get(_RANDOM)) is not None:
        random._rng_tracker = tracker  # type: ignore[attr-defined]


@dataclass(frozen=True)
class _Place:
    """A place in a stream: so many numbers after a state. Numbers may differ between ranks."""

    state: torch.Tensor
    numbers: Any = 0

    def clone(self) -> _Place:
        return self

    def __add__(self, numbers: Any) -> _Place:
        return _Place(self.state, self.numbers + numbers)

    def reached(self) -> torch.Tensor:
        """The state of who is there."""
        state: torch.Tensor = torch.ops.polyrank._rng_state_after(self.state, self.numbers)
        return state


def _state_with_places(original: type) -> type:
    """`_PhiloxState`, whose offset is a place, of a CPU generator's state."""

    class PhiloxState(original):  # type: ignore[misc]
        _state: torch.Tensor

        @property
        def offset(self) -> Any:
            return _Place(self._state) if _C.virtual_gpus().count else super().offset

        @offset.setter
        def offset(self, place: Any) -> None:
            if isinstance(place, _Place):
                self._state = place.reached()
            else:
                original.offset.fset(self, place)  # type: ignore[attr-defined]

    return PhiloxState


def _compute_rng_offsets(
    original: Callable[..., tuple[Any, Any]], tracker: Any, spec: Any
) -> tuple[Any, Any]:
    """How many numbers to go on to where this rank's shard draws, and to behind all shards.

    Ensures: no number is drawn for two shards.
    """
    if tracker._device.type != "cuda" or not _C.virtual_gpus().count:
        return original(tracker, spec)
    from torch.distributed.tensor import _random

    mesh = spec.mesh
    coordinates = [mesh._sym_get_coordinate(dim) for dim in range(mesh.ndim)]
    indices, sizes = _random._calc_shard_info(coordinates, spec)
    elements = math.prod(_random._calc_first_shard_size(spec))
    numbers = -(-elements // _ALIGNMENT) * _ALIGNMENT * _NUMBERS_PER_ELEMENT
    return _random._calc_shard_linear_idx(indices, sizes) * numbers, math.prod(sizes) * numbers


@contextlib.contextmanager
def _distribute_region(
    original: Callable[..., Any], tracker: Any, spec: Any, generator: torch.Generator | None = None
) -> Iterator[None]:
    """A block in which the default stream is where this rank's shard draws.

    In lockstep each rank's stream is at a place of its own. A `generator` lends its stream: PyTorch
    takes it from the operator, which then draws from the default one.
    """
    is_virtual = tracker._device.type == "cuda" and _C.virtual_gpus().count > 0
    if not is_virtual or not tracker.distribute_region_enabled:
        with original(tracker, spec, generator=generator):
            yield
        return
    default = torch.cuda.default_generators[_C.current_gpu()]
    to_shard, to_end = tracker._compute_rng_offsets(spec)
    kept = default.get_state()
    before = _Place(kept if generator is None else generator.get_state())
    default.set_state((before + to_shard).reached())
    try:
        yield
    finally:
        default.set_state(kept)
        (generator or default).set_state((before + to_end).reached())


def _resolve_device(original: Callable[..., torch.device], device_mesh: Any) -> torch.device:
    """The GPU whose state a tracker takes: the current one, which ranks in lockstep share."""
    if device_mesh.device_type != "cuda" or not _C.virtual_gpus().count:
        return original(device_mesh)
    return torch.device("cuda", _C.current_gpu())


_TRACKER = f"{_RANDOM}:OffsetBasedRNGTracker"

ROWS = (
    Row(
        _TRACKER,
        "_distribute_region",
        with_original(_distribute_region),
        "in lockstep, asks torch's own simulator for each rank's place",
    ),
    Row(
        _RANDOM,
        "_resolve_device",
        with_original(_resolve_device),
        "gives each rank's GPU another number, and those in lockstep share one",
    ),
    Row(
        _RANDOM,
        "_PhiloxState",
        _state_with_places,
        "reads a state as a seed and an offset, and a virtual GPU's is a CPU generator's",
        is_attribute=True,
    ),
    Row(
        _TRACKER,
        "_compute_rng_offsets",
        with_original(_compute_rng_offsets),
        "counts as a GPU's generator, where an element takes one step of many threads",
    ),
)
