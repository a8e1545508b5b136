"""What a run's modules gave, and what it did to its parameters: the values that are paired."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode

from polyrank import _C
from polyrank.divergence.content import Copies, content_of, digest_of
from polyrank.divergence.histories import writers_of
from polyrank.divergence.operations import Operation
from polyrank.divergence.recording import OperationLog
from polyrank.divergence.reference.names import ModuleNames, joined
from polyrank.divergence.reference.values import Made, ValueLog
from polyrank.recording.module_paths import named_modules_run
from polyrank.tensor.active_modes import enabled_local_tensor_mode

__all__ = ["INITIAL", "LOSS", "Event", "Tape", "Until", "What"]

LOSS = "loss"  # the kind of what backward starts from
INITIAL = "initial value"  # of a parameter, before the first module runs that holds it


class What(NamedTuple):
    """What says that values of two runs, or of two ranks, are the same thing."""

    step: int  # optimizer steps before it
    kind: str  # "output", "gradient of the output", "gradient", "parameter", INITIAL or LOSS
    module: str  # its path, or of a parameter its name
    call: int  # how often the module ran in this step before it
    position: int  # of several outputs

    def __str__(self) -> str:
        of = (
            f"{self.kind} of {self.module}"
            if self.kind != "parameter"
            else f"parameter {self.module}"
        )
        call = f", call {self.call + 1}" if self.call else ""
        return f"{of}{call}, step {self.step + 1}"


@dataclass
class Event:
    """A value of some ranks."""

    pieces: dict[int, torch.Tensor] = field(default_factory=dict)
    # By rank, where operators are recorded.
    writers: dict[int, tuple[Operation, ...]] = field(default_factory=dict)


@dataclass
class Until:
    """Where a run is ended, as if the program had called `sys.exit()`: what comes later is not asked for."""

    step: int  # after this optimizer step
    # Or, if it is said, when these ranks have come to this value.
    what: What | None = None
    ranks: set[int] = field(default_factory=set)

    def note(self, what: What, ranks: Sequence[int]) -> None:
        if what == self.what:
            self.ranks.difference_update(ranks)
            self.end_if_reached()

    def end_if_reached(self) -> None:
        if self.what is not None and not self.ranks:
            raise SystemExit


@dataclass
class Tape:
    """The values of one run, of all its ranks."""

    keeps: str = ""  # beside events: "operations" with what they take, or only the "values" of that
    until: Until | None = None
    events: dict[What, Event] = field(default_factory=dict)
    copies: dict[bytes, torch.Tensor] = field(default_factory=dict)  # all values, by digest
    logs: dict[int, OperationLog] = field(default_factory=dict)  # by rank, of "operations"
    num_ranks: int = 0
    # What parameters held when they were first seen, by name, and names by digests of these in a reference.
    initial: dict[str, Event] = field(default_factory=dict)
    known: Mapping[bytes, str] = field(default_factory=dict)
    # Of "values", what operators gave in forward, by operator, file and line.
    results: dict[Made, Copies] = field(default_factory=dict)
    recorders: dict[int, _Recorder] = field(default_factory=dict)  # by rank

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """A block that the calling thread's ranks run, recorded."""
        mode = enabled_local_tensor_mode()
        thread = _C.RankThread.current()
        ranks = (
            tuple(sorted(mode.ranks))
            if mode is not None
            else (0 if thread is None else thread.rank,)
        )
        self.num_ranks += len(ranks)
        log: TorchDispatchMode | None = None
        if self.keeps == "operations":
            log = OperationLog(ranks, in_lockstep=mode is not None, copies=self.copies)
            self.logs.update(dict.fromkeys(ranks, log))
            if self.until is not None:
                log.before_each = self.until.end_if_reached
        elif self.keeps == "values":
            log = ValueLog(ranks, self.copies, self.results)
        recorder = _Recorder(self, ranks, log)
        self.recorders.update(dict.fromkeys(ranks, recorder))
        with recorder.recording():
            yield

    def note(self, roots: Any) -> None:
        """Take what backward starts from on the calling thread: a loss, if it is one number."""
        thread = _C.RankThread.current()
        recorder = self.recorders.get(0 if thread is None else thread.rank)
        for root in [roots] if isinstance(roots, torch.Tensor) else list(roots):
            if recorder is not None and isinstance(root, torch.Tensor) and root.numel() == 1:
                recorder.note_loss(root)

    def names_by_content(self) -> dict[bytes, str]:
        """Its parameters by the digests of what they began with, of those that are told apart by them."""
        names: dict[bytes, str] = {}
        for name, event in self.initial.items():
            for tensor in event.pieces.values():
                digest = digest_of(tensor)
                names[digest] = name if names.get(digest, name) == name else ""
        return {digest: name for digest, name in names.items() if name}


class _Recorder:
    """The hooks of one thread."""

    def __init__(self, tape: Tape, ranks: Sequence[int], mode: TorchDispatchMode | None) -> None:
        self.tape = tape
        self.ranks = ranks
        self.mode = mode
        self.log = mode if isinstance(mode, OperationLog) else None
        self.step = 0
        self.depth = 0
        self.calls: dict[str, int] = {}
        self.paths: dict[int, tuple[nn.Module, str | None]] = {}  # None: it wraps another
        self.parameters: dict[int, tuple[torch.Tensor, str]] = {}
        self.names = ModuleNames(ranks, tape.known)
        self.num_losses = 0  # in this step

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for handle in (
                register_module_forward_pre_hook(self.enter),
                register_module_forward_hook(self.leave),
                register_optimizer_step_pre_hook(self.before_step),
                register_optimizer_step_post_hook(self.after_step),
            ):
                stack.callback(handle.remove)
            if self.log is not None:
                stack.enter_context(named_modules_run())
            if self.mode is not None:
                stack.enter_context(self.mode)
            yield

    def enter(self, module: nn.Module, args: Any) -> None:
        if id(module) in self.paths:
            return
        for path, part in self.names.of_root(module):
            self.paths.setdefault(id(part), (part, path))
            for name, tensor in part.named_parameters(recurse=False):
                full = joined(path or "", name)
                if id(tensor) not in self.parameters:
                    self.parameters[id(tensor)] = (tensor, full)
                    self._keep(self.tape.initial, full, tensor)
                    self.note(What(self.step, INITIAL, full, 0, 0), tensor)

    def leave(self, module: nn.Module, args: Any, output: Any) -> None:
        path = self.paths[id(module)][1]
        if path is None:
            return
        path = path or "the model"
        call = self.calls.get(path, 0)
        self.calls[path] = call + 1
        outputs = output if isinstance(output, list | tuple) else (output,)
        for index, tensor in enumerate(outputs):
            if not isinstance(tensor, torch.Tensor):
                continue
            if tensor.requires_grad and tensor.grad_fn is not None:
                what = What(self.step, "gradient of the output", path, call, index)
                tensor.register_hook(partial(self.note, what))  # type: ignore[no-untyped-call]
            self.note(What(self.step, "output", path, call, index), tensor)

    def before_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self.depth += 1
        if self.depth == 1:
            for tensor, name in self.named(optimizer):
                if tensor.grad is not None:
                    self.note(What(self.step, "gradient", name, 0, 0), tensor.grad)
            if self.log is not None:
                self.log.in_optimizer = True

    def after_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self.depth -= 1
        if self.depth:
            return
        if self.log is not None:
            self.log.in_optimizer = False
        for tensor, name in self.named(optimizer):
            self.note(What(self.step, "parameter", name, 0, 0), tensor)
        if self.tape.until is not None and self.step == self.tape.until.step:
            raise SystemExit
        self.step += 1
        self.num_losses = 0
        self.calls.clear()

    def named(self, optimizer: torch.optim.Optimizer) -> Iterator[tuple[torch.Tensor, str]]:
        count = 0
        for group in optimizer.param_groups:
            for tensor in group["params"]:
                _, name = self.parameters.get(id(tensor), (tensor, f"{count} of the optimizer"))
                yield tensor, name
                count += 1

    def note_loss(self, loss: torch.Tensor) -> None:
        self.note(What(self.step, LOSS, "", self.num_losses, 0), loss)
        self.num_losses += 1

    def note(self, what: What, tensor: torch.Tensor) -> None:
        self._keep(self.tape.events, what, tensor)
        if self.tape.until is not None:
            self.tape.until.note(what, self.ranks)

    def _keep(self, events: dict[Any, Event], key: Any, tensor: torch.Tensor) -> None:
        content = content_of(tensor, self.ranks, self.tape.copies)
        if content is None:
            return
        writers = writers_of(tensor) if self.log is not None else ()
        event = events.setdefault(key, Event())
        for share in content:
            for rank in share.ranks:
                assert share.tensor is not None  # noqa: S101
                event.pieces[rank] = share.tensor
                event.writers[rank] = writers
