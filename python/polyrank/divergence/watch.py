"""Watches what the calling thread's ranks hold: parameters, buffers, gradients, optimizer states."""

from __future__ import annotations

import contextlib
import math
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils._python_dispatch import _disable_current_modes

from polyrank import _C
from polyrank.divergence.content import Content, content_of, local_part, shape_of
from polyrank.divergence.histories import mark_parameter, storage_key, writers_of
from polyrank.divergence.operations import Operation, Place
from polyrank.divergence.recording import OperationLog
from polyrank.divergence.streams import CPU_STREAM, RANDOM_STREAM, state_of
from polyrank.lockstep_world.groups.mesh_answers import meshes_of_family
from polyrank.recording.module_paths import named_modules_run, paths_of

__all__ = ["Facts", "Shards", "Told", "Watch"]

_MOST_NAMES = 10_000

Shards = tuple[tuple[int, ...], ...]  # the ranks of one mesh that hold each shard


@contextlib.contextmanager
def _watching_nothing() -> Iterator[None]:
    with _disable_current_modes(), torch.no_grad():
        yield


@dataclass(slots=True)
class Told:
    """One tensor as one rank, or all of a lockstep program, found it."""

    content: Content | None
    shape: tuple[Any, ...]
    writers: tuple[Operation, ...] = ()
    version: int = 0  # how often it was written


@dataclass(slots=True)
class Facts:
    """What is known of a tensor when it is first seen."""

    kind: str  # "parameter", "buffer", "optimizer state" or "tensor"
    module: str  # its path
    shape: tuple[Any, ...]
    is_constant: bool = False  # all elements are one number, so that to be equal says nothing
    is_norm: bool = False  # of a module that normalizes
    # Of a DTensor, the ranks of its meshes by the shard that its placements give them; None: it is none.
    shards: tuple[Shards, ...] | None = None
    unwatched: str = ""  # why it is not watched
    parameter: str = ""  # of an optimizer state, whose
    declared_at: Place | None = None  # of what the program declares


class Watch:
    """The hooks of one thread, which runs `ranks`: one of them, or all in lockstep."""

    def __init__(self, meeting: Any, ranks: Sequence[int], log: OperationLog | None) -> None:
        self.meeting = meeting
        self.ranks = ranks
        self.log = log
        self.facts: dict[str, Facts] = {}
        self._depth = 0  # optimizers that step within another's step
        self._step = 0
        # By the tensor's id: the tensor, its name and whose it is.
        self._names: dict[int, tuple[weakref.ref[torch.Tensor], str, nn.Module | None]] = {}
        self._taken: set[str] = set()  # names
        self._own: set[str] = set()  # what has nobody to agree with, as the meeting said
        self._place = Place("", 0, "", "")
        self.declared: dict[str, list[list[int]]] = {}  # groups, by what was declared
        self.has_own_stream = False  # ranks' random streams differed when they were first seen
        self._counts: dict[str, int] = {}
        self._writes = 0
        # What tensors held when they were last read that no module and no optimizer holds.
        self._leaves: dict[str, Content | None] = {}
        # By storage: what is watched, and storages that a collective took since the last step.
        self._watched: dict[int, tuple[str, weakref.ref[torch.Tensor]]] = {}
        self._taken_by_collectives: set[int] = set()
        # In the order in which they ran.
        self._roots: weakref.WeakKeyDictionary[nn.Module, None] = weakref.WeakKeyDictionary()
        self._parts: weakref.WeakSet[nn.Module] = weakref.WeakSet()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """A block that is watched."""
        with contextlib.ExitStack() as stack:
            for handle in (
                register_module_forward_pre_hook(self._before_forward),
                register_optimizer_step_pre_hook(self._before_step),
                register_optimizer_step_post_hook(self._after_step),
            ):
                stack.callback(handle.remove)
            if self.log is not None:
                self.log.on_leaf = self._meet_leaf
                self.log.on_collective = self.before_collective
                stack.enter_context(named_modules_run())
                stack.enter_context(self.log)
            yield
            self._end()

    # --- Moments ------------------------------------------------------------------------------

    def _before_forward(self, module: nn.Module, args: Any) -> None:
        if module not in self._parts:
            self._roots[module] = None
            self._parts.update(module.modules())
            self._meet(None)
        elif not self._step and not self._depth and module in self._roots:
            # A program that updates its parameters itself. Ranks may run different numbers of
            # forwards, so they meet where they have written as often.
            writes = sum(tensor._version for _, tensor in self._named())
            if writes != self._writes:
                self._writes = writes
                self._tell_named("update of parameters", writes)

    def _before_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self._depth += 1
        if self._depth > 1:
            return
        if len(self.ranks) == 1 or not self._step:
            self._place = self._here()
        if any(
            id(p) not in self._names for group in optimizer.param_groups for p in group["params"]
        ):
            self._meet(optimizer)
        if self.log is not None:
            self.log.in_optimizer = True
        if not self._step:
            with _watching_nothing():
                named = [(name, p, p.grad) for name, p in self._named()]
                told = {name: self._tell(p) for name, p, g in named if g is not None}
                gradients = {name: self._tell(g) for name, _, g in named if g is not None}
            self.meeting.tell("gradients", 0, self.ranks, told, self, gradients)

    def _after_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self._depth -= 1
        if self._depth:
            return
        if self.log is not None:
            self.log.in_optimizer = False
        if len(self.ranks) > 1 and not self._is_split(optimizer):
            self.meeting.note_step()
        else:
            if len(self.ranks) > 1:
                self._place = self._here("optimizer")
            self._tell_named("optimizer step", self._step, optimizer)
        self._step += 1
        self._taken_by_collectives.clear()

    def expect_equal(
        self, value: torch.Tensor | torch.Generator, groups: list[list[int]], what: str
    ) -> None:
        """Tell a tensor, or a generator's state, that the ranks of each of the groups should hold alike."""
        here = self._here()
        name = f"{what} at {Path(here.file).name}:{here.line}"
        self._place = here
        self.declared[name] = groups
        count = self._counts[name] = self._counts.get(name, 0) + 1
        with _watching_nothing():
            generator = self._generator_of(value)
            told = (
                self._tell_stream(generator)
                if generator is not None
                else self._tell(cast(torch.Tensor, value))
            )
        kind = "tensor" if generator is None else RANDOM_STREAM
        self.facts.setdefault(name, Facts(kind, here.module, told.shape, declared_at=here))
        self.meeting.tell("declared", (name, count), self.ranks, {name: told}, self, {})

    def before_collective(self, tensors: list[torch.Tensor]) -> None:
        """Tell what a collective takes that should agree: it may hide that it does not.

        Parameters and buffers, and gradients that a collective has had since the last step: the first may
        have made them alike.
        """
        keys: Iterable[int | None] = map(storage_key, tensors)
        for key in keys if len(tensors) == 1 else dict.fromkeys(keys):
            if key is None:
                continue
            if key in self._watched:
                name, reference = self._watched[key]
                self._tell_taken(name, reference(), "taken")
            elif key in self._taken_by_collectives:
                for name, tensor in self._named():
                    if storage_key(tensor.grad) == key:
                        self._tell_taken(name, tensor.grad, "gradient taken")
            self._taken_by_collectives.add(key)

    def _tell_taken(self, name: str, tensor: torch.Tensor | None, moment: str) -> None:
        if tensor is None or name in self._own:
            return
        count = self._counts[f"{moment} {name}"] = self._counts.get(f"{moment} {name}", 0) + 1
        if len(self.ranks) > 1 and not _C.positions_of_split([local_part(tensor)]):
            return
        self._place = self._here()
        with _watching_nothing():
            told = {name: self._tell(tensor)}
        self.meeting.tell(moment, (name, count), self.ranks, told, self, {})

    def _end(self) -> None:
        if self.facts:
            self._place = self._here()
            self._tell_named("the end", 0)

    def _meet(self, optimizer: torch.optim.Optimizer | None) -> None:
        """Tell what is seen for the first time."""
        with _watching_nothing():
            self._name_tensors(optimizer)
            told = {}
            for name, tensor in self._named():
                if name not in self.facts:
                    self.facts[name] = self._facts_of(name, tensor)
                    told[name] = self._tell(tensor)
            if CPU_STREAM not in self.facts:
                self.facts[CPU_STREAM] = Facts(RANDOM_STREAM, "", ())
                told[CPU_STREAM] = self._tell_stream(torch.default_generator)
            self._watched = {
                key: (name, weakref.ref(tensor))
                for name, tensor in self._named()
                if not self.facts[name].unwatched and (key := storage_key(tensor)) is not None
            }
        if told:
            count = self._counts["first seen"] = self._counts.get("first seen", 0) + 1
            self.meeting.tell("first seen", count, self.ranks, told, self, {})

    def _meet_leaf(self, tensor: torch.Tensor, place: Place, content: Content | None) -> None:
        """Tell a tensor that is differentiated and that no module or optimizer holds, as it changes."""
        known = self._names.get(id(tensor))
        if known is None or known[0]() is not tensor:
            if len(self._names) < _MOST_NAMES:
                name = f"made before {Path(place.file).name}:{place.line}"
                name = self._name(tensor, name, f"{len(self._names)} {name}", None)
                self._leaves[name] = content
                self._meet(None)
            return
        name = known[1]
        if name in self._leaves and self._leaves[name] is not content:
            self._leaves[name] = content
            count = self._counts[name] = self._counts.get(name, 0) + 1
            self._place = place
            told = {name: Told(content, shape_of(tensor), writers_of(tensor))}
            self.meeting.tell("update of parameters", (name, count), self.ranks, told, self, {})

    def _tell_named(
        self, moment: str, count: int, optimizer: torch.optim.Optimizer | None = None
    ) -> None:
        """Tell what is to agree with others. In lockstep what is one cohort need not be told."""
        tensors = [(name, tensor) for name, tensor in self._named() if name not in self._own]
        if optimizer is not None:
            tensors += self._states(optimizer)
        if len(self.ranks) > 1:
            locals_ = [local_part(tensor) for _, tensor in tensors]
            tensors = [tensors[i] for i in _C.positions_of_split(locals_)]
        with _watching_nothing():
            told = {name: self._tell(tensor) for name, tensor in tensors}
            # In lockstep at the end alone: to ask at each step costs a small one more than all else.
            is_asked = moment == "the end" or len(self.ranks) == 1
            if is_asked and self._stream_is_asked_for():
                told[CPU_STREAM] = self._tell_stream(torch.default_generator)
        self.meeting.tell(moment, count, self.ranks, told, self, {})

    def _stream_is_asked_for(self) -> bool:
        """Whether the CPU's stream may have parted from that of other ranks, or come to be the same."""
        if CPU_STREAM not in self.facts or CPU_STREAM in self._own:
            return False
        if self.has_own_stream or len(self.ranks) == 1:
            return True
        return bool(_C.positions_of_split([state_of(None)]))

    def _is_split(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether any of what should be one cohort is more; in lockstep, at each step."""
        tensors = [
            tensor
            for reference, name, _ in self._names.values()
            if name not in self._own and (tensor := reference()) is not None
        ]
        for parameter, state in optimizer.state.items():
            entry = self._names.get(id(parameter))
            if entry is not None and entry[1] not in self._own and isinstance(state, dict):
                tensors += [value for value in state.values() if isinstance(value, torch.Tensor)]
        return bool(_C.positions_of_split([local_part(tensor) for tensor in tensors]))

    def _here(self, phase: str = "") -> Place:
        file, line, module, _ = _C.call_site()
        return Place(file, line, module, phase or ("optimizer" if self._depth else "forward"))

    @property
    def place(self) -> Place:
        """The line of the optimizer step that runs, or ran last."""
        return self._place

    def leave_out(self, names: set[str]) -> None:
        """These need not be told any more: each rank has its own."""
        self._own |= names

    def _tell(self, tensor: torch.Tensor) -> Told:
        writers = writers_of(tensor) if self.log is not None else ()
        version = local_part(tensor)._version
        return Told(content_of(tensor, self.ranks), shape_of(tensor), writers, version)

    def _tell_stream(self, generator: torch.Generator) -> Told:
        if self.log is None:
            return self._tell(state_of(generator))
        stream = self.log.streams.now(generator)
        return Told(stream.content, stream.shape, stream.writers)

    def _generator_of(self, value: torch.Tensor | torch.Generator) -> torch.Generator | None:
        """The generator that it is, or the CPU's if it is the state of that now."""
        if isinstance(value, torch.Generator):
            return value
        now = state_of(None)
        if value.dtype != now.dtype or shape_of(value) != shape_of(now):
            return None
        is_now = content_of(value, self.ranks) == content_of(now, self.ranks)
        return torch.default_generator if is_now else None

    # --- Names --------------------------------------------------------------------------------

    def _name_tensors(self, optimizer: torch.optim.Optimizer | None) -> None:
        for number, root in enumerate(self._roots):
            for path, module in paths_of(root):
                for own, tensor in [
                    *module.named_parameters(recurse=False),
                    *module.named_buffers(recurse=False),
                ]:
                    name = own if module is root else f"{path}.{own}"
                    self._name(tensor, name, f"{type(root).__name__} {number}: {name}", module)
        count = 0
        for group in [] if optimizer is None else optimizer.param_groups:
            for tensor in group["params"]:
                name = f"{count} of {type(optimizer).__name__}"
                self._name(tensor, name, f"{name} {len(self._names)}", None)
                count += 1

    def _name(self, tensor: torch.Tensor, name: str, longer: str, module: nn.Module | None) -> str:
        """Give the tensor a name if it has none: the longer one where another has the first."""
        known = self._names.get(id(tensor))
        if known is not None and known[0]() is tensor:
            return known[1]
        own = longer if name in self._taken else name
        self._taken.add(own)
        self._names[id(tensor)] = (weakref.ref(tensor), own, module)
        if self.log is not None and isinstance(tensor, nn.Parameter):
            mark_parameter(tensor)
        return own

    def _named(self) -> Iterator[tuple[str, torch.Tensor]]:
        for reference, name, _ in self._names.values():
            tensor = reference()
            if tensor is not None:
                yield name, tensor

    def _states(self, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, torch.Tensor]]:
        for parameter, state in optimizer.state.items():
            entry = self._names.get(id(parameter))
            if entry is None or entry[1] in self._own or not isinstance(state, dict):
                continue
            for key, value in state.items():
                if isinstance(value, torch.Tensor):
                    name = f"{key} of {entry[1]}"
                    if name not in self.facts:
                        self.facts[name] = Facts(
                            "optimizer state", "", shape_of(value), parameter=entry[1]
                        )
                    yield name, value

    def _facts_of(self, name: str, tensor: torch.Tensor) -> Facts:
        _, _, module = self._names[id(tensor)]
        path = name.rpartition(".")[0]
        is_parameter = isinstance(tensor, nn.Parameter) or tensor.requires_grad
        facts = Facts(
            "parameter" if is_parameter else "buffer",
            path,
            shape_of(tensor),
            is_constant=_is_constant(local_part(tensor)),
            is_norm=module is not None and _normalizes(module),
        )
        if isinstance(tensor, DTensor):
            facts.shards = tuple(_shards(tensor))
        if isinstance(module, _NormBase) and not is_parameter:
            facts.unwatched = "running statistics of a batch are each rank's own between broadcasts"
        elif type(tensor).__name__ == "FlatParameter":
            facts.unwatched = "FSDP1's flat parameters hold each rank's shards"
        return facts


def _normalizes(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower()


def _is_constant(tensor: torch.Tensor) -> bool:
    """Whether it is one number, on the lowest of the ranks."""
    if _C.is_local_tensor(tensor):
        tensor = _C.cohorts(tensor.detach())[0].tensor
    if tensor.numel() == 0 or tensor.layout != torch.strided or tensor.device.type == "meta":
        return True
    tensor = tensor.detach()
    return bool((tensor == tensor.reshape(-1)[0]).all())


def _shards(tensor: DTensor) -> Iterator[Shards]:
    """Of each mesh that ranks have it on, the ranks that hold each shard."""
    kept = [i for i, placement in enumerate(tensor.placements) if placement.is_replicate()]
    for ranks in meshes_of_family(tensor.device_mesh):
        others = [i for i in range(ranks.ndim) if i not in kept]
        size = math.prod(ranks.shape[i] for i in kept)
        rows = ranks.permute(*others, *kept).reshape(-1, size).tolist()
        yield tuple(tuple(sorted(row)) for row in rows)
