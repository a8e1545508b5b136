"""Records the operators that ranks run, each with what its operands hold and what made these.

What an operator of parallel lists (`_foreach_add_`, a coalesced collective) does to each position is
an operation of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.autograd.function import BackwardCFunction
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from polyrank import _C
from polyrank.divergence.content import Content, Copies, Share, content_of, shape_of
from polyrank.divergence.histories import UNINITIALIZED, geometry_key, history_of
from polyrank.divergence.operations import Key, Operand, Operation, Place
from polyrank.divergence.streams import Streams, draws
from polyrank.tensor.local_tensor import is_foreign_subclass

__all__ = ["OperationLog"]

# The number of the next node that the calling thread makes.
_next_node: Callable[[], int] = torch.autograd._get_sequence_nr  # type: ignore[attr-defined]

_NOT_OPERATIONS = ("prim::", "profiler::")
# In-place operators that leave nothing of what was there.
_OVERWRITING = frozenset({"aten::copy_", "aten::fill_", "aten::zero_"})
_COLLECTIVES = {row["op_name"]: row for row in _C.collective_table()}
_WITHOUT_VALUES = frozenset({"wait", "not_a_collective", "barrier", "monitored_barrier"})
_BETWEEN_TWO = frozenset({"send", "recv", "send_recv"})


class OperationLog(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the operators of the calling thread, which runs these ranks, while it is entered."""

    def __init__(
        self, ranks: Sequence[int], *, in_lockstep: bool, copies: Copies | None = None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ranks = ranks
        self.in_lockstep = in_lockstep
        self.copies = copies  # of what operands hold; None: none are kept
        self.before_each: Callable[[], None] | None = None  # called before each operator
        self.operations: dict[Key, Operation] = {}
        self.in_optimizer = False
        self.unseen: set[str] = set()  # operators on tensors that hold no values
        self._occurrences: dict[tuple[Any, ...], int] = {}
        self._made: dict[int, Operation] = {}  # by the number of the autograd node
        self._backward_from = ("", 0)  # the line that runs backward
        self.streams = Streams(ranks)
        # Told of each read of a tensor that is differentiated, where, and of what it holds.
        self.on_leaf: Callable[[torch.Tensor, Place, Content | None], None] | None = None
        # Told of the tensors of each collective before it runs.
        self.on_collective: Callable[[list[torch.Tensor]], None] | None = None

    def __torch_dispatch__(
        self,
        func: Any,
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if any(is_foreign_subclass(kind) for kind in types):
            return NotImplemented  # its own operators are what runs
        if self.before_each is not None:
            self.before_each()
        name = func._schema.name if isinstance(func, torch._ops.OpOverload) else ""
        row = _COLLECTIVES.get(name)
        if not name or name.startswith(_NOT_OPERATIONS) or (row and row["kind"] in _WITHOUT_VALUES):
            return func(*args, **kwargs)
        if row and self.on_collective is not None:
            self.on_collective(list(_tensors_in((*args, *kwargs.values()))))
        call = _Call(self, func, name, args, kwargs)
        result = func(*args, **kwargs)
        call.note_results(result)
        return result

    def place(self) -> tuple[Place, Operation | None]:
        """Where the program is, and in backward whose gradient is computed."""
        file, line, module, is_backward = _C.call_site()
        node: Any = torch._C._current_autograd_node()
        if node is not None or is_backward:
            phase = "backward"
        else:
            phase = "optimizer" if self.in_optimizer else "forward"
        forward = None if node is None else self._made.get(node._sequence_nr())
        if not isinstance(node, BackwardCFunction):
            self._backward_from = (file, line)
        elif (file, line) != self._backward_from:
            forward = None  # the program's own backward has a line of its own
        return Place(file, line, module, phase), forward

    def note_made(self, operation: Operation) -> None:
        """The operation is what autograd's last node was made for: of a Function's, the first."""
        if operation.place.phase != "backward":
            self._made.setdefault(_next_node() - 1, operation)

    def key(self, name: str, place: Place, position: int) -> Key:
        """Of the next such operation."""
        same = (name, place.file, place.line, place.phase, position)
        occurrence = self._occurrences.get(same, 0)
        self._occurrences[same] = occurrence + 1
        return Key(name, place.file, place.line, place.phase, position, occurrence)


class _Call:
    """One call of an operator."""

    def __init__(
        self, log: OperationLog, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.log = log
        self.func = func
        self.name = name
        self.row = _COLLECTIVES.get(name)
        self.written: list[tuple[int, torch.Tensor]] = []  # position in lists, tensor
        place, forward = log.place()
        arguments = list(_named_arguments(func._schema, args, kwargs))
        length = self._num_positions(arguments)
        self.operations = [
            Operation(
                0,
                log.key(name, place, position),
                place,
                None if forward is None else forward.place,
                [],
                forward,
                is_random=draws(func),
            )
            for position in range(length)
        ]
        for operation in self.operations:
            operation.number = len(log.operations)
            log.operations[operation.key] = operation
        log.note_made(self.operations[0])
        for index, argument, value in arguments:
            self._read(index, argument, value)
        if self.row is not None:
            self._read_group(args, kwargs)
        self.generator: torch.Generator | None = None
        if self.operations[0].is_random:
            values = tree_leaves((args, kwargs))
            self.generator = log.streams.read(values, self.operations[0])

    def _num_positions(self, arguments: list[tuple[int, Any, Any]]) -> int:
        is_parallel = self.name.startswith(("aten::_foreach_", "aten::_fused_")) or (
            self.row is not None and self.row["input_packing"] == "coalesced"
        )
        lists = [len(v) for _, _, v in arguments if isinstance(v, list | tuple) and _has_tensor(v)]
        return max(lists, default=1) if is_parallel and lists else 1

    def _read(self, index: int, argument: Any, value: Any) -> None:
        is_write = self._is_written(index, argument)
        if isinstance(value, torch.Tensor):
            for position in range(len(self.operations)):
                self._read_tensor(position, argument.name, value, is_write=is_write)
        elif isinstance(value, list | tuple) and _has_tensor(value):
            spread = len(self.operations) > 1 and len(value) == len(self.operations)
            for i, tensor in enumerate(value):
                for entry in tensor if isinstance(tensor, list | tuple) else (tensor,):
                    if isinstance(entry, torch.Tensor):
                        name = argument.name if spread else f"{argument.name}[{i}]"
                        self._read_tensor(i if spread else 0, name, entry, is_write=is_write)
        elif (content := _content_of_scalar(value, self.log.ranks)) is not None:
            for operation in self.operations:
                operation.operands.append(Operand(argument.name, content, is_scalar=True))

    def _is_written(self, index: int, argument: Any) -> bool:
        if self.row is not None:
            destination = self.row["destination"]
            return bool(
                (destination == "outputs" and index == self.row["outputs"])
                or (destination == "inputs" and index == self.row["inputs"])
            )
        info = argument.alias_info
        return bool(info is not None and info.is_write)

    def _read_tensor(
        self, position: int, name: str, tensor: torch.Tensor, *, is_write: bool
    ) -> None:
        operation = self.operations[position]
        history = history_of(tensor)
        if history is None:
            self.log.unseen.add(self.name)
            return
        if is_write:
            self.written.append((position, tensor))
        if history.is_uninitialized or (is_write and self._leaves_nothing(name)):
            return
        geometry = geometry_key(tensor)
        if geometry not in history.contents:
            history.contents[geometry] = content_of(tensor, self.log.ranks, self.log.copies)
        operation.operands.append(
            Operand(
                name,
                history.contents[geometry],
                shape_of(tensor),
                history.writers(tensor),
                is_parameter=history.is_parameter or (tensor.requires_grad and tensor.is_leaf),
                is_written=is_write,
            )
        )
        if not is_write and operation.place.phase == "forward" and torch.is_grad_enabled():
            if tensor.requires_grad and tensor.is_leaf and self.log.on_leaf is not None:
                self.log.on_leaf(tensor, operation.place, history.contents[geometry])
            for writer in operation.operands[-1].writers:
                writer.is_read = True

    def _leaves_nothing(self, argument: str) -> bool:
        if self.row is not None:
            return bool(self.row["destination"] == "outputs")
        return bool(
            self.name in _OVERWRITING
            or argument == "out"
            or (draws(self.func) and self.name.endswith("_"))
        )

    def _read_group(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        assert self.row is not None  # noqa: S101
        if self.row["kind"] in _BETWEEN_TWO:
            family: list[list[int]] = []
        else:
            group = _C.collective_process_group(self.name, args, kwargs)
            if self.log.in_lockstep:
                family = _C.group_family(group.group_name, len(self.log.ranks))
            else:
                family = [torch.distributed.get_process_group_ranks(group)]
        for operation in self.operations:
            operation.kind = self.row["kind"]
            operation.groups = tuple(map(tuple, family))

    def note_results(self, result: Any) -> None:
        """Tell the storages what the operator wrote, made and showed."""
        if self.generator is not None:
            self.log.streams.note_drawn(self.generator, self.operations[0])
        for position, tensor in self.written:
            history = history_of(tensor)
            if history is not None:
                history.note_write(self.operations[position], tensor)
        written = {id(tensor) for _, tensor in self.written}
        tensors = list(_tensors_in(result))
        spread = len(tensors) == len(self.operations) > 1
        for i, tensor in enumerate(tensors):
            if id(tensor) not in written:
                self._note_result(self.operations[i if spread else 0], tensor)

    def _note_result(self, operation: Operation, tensor: torch.Tensor) -> None:
        history = history_of(tensor)
        if history is None:
            self.log.unseen.add(self.name)
        elif self.name.startswith(UNINITIALIZED):
            history.is_uninitialized = True
        elif history.writes or history.is_uninitialized or self._is_view_of_operand(tensor):
            operation.is_view = True
            history.views[geometry_key(tensor)] = operation
        else:
            history.note_write(operation, tensor)

    def _is_view_of_operand(self, tensor: torch.Tensor) -> bool:
        return any(returned.alias_info is not None for returned in self.func._schema.returns)


def _named_arguments(
    schema: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Iterator[tuple[int, Any, Any]]:
    for index, argument in enumerate(schema.arguments):
        if index < len(args):
            yield index, argument, args[index]
        elif argument.name in kwargs:
            yield index, argument, kwargs[argument.name]


def _has_tensor(values: Sequence[Any]) -> bool:
    return any(True for _ in _tensors_in(values))


def _tensors_in(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _tensors_in(entry)


def _content_of_scalar(value: Any, ranks: Sequence[int]) -> Content | None:
    """What a number, text or list of these is on each rank."""
    if isinstance(value, bool | int | float | str):
        return (Share(ranks, repr(value).encode(), repr(value)),)
    if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
        node = value.node
        for attribute in ("_local_ints", "_local_floats", "_local_bools"):
            values = getattr(node, attribute, None)
            if values is not None:
                return tuple(
                    Share((rank,), repr(own).encode(), repr(own)) for rank, own in values.items()
                )
        return None
    if isinstance(value, list | tuple):
        contents = [_content_of_scalar(entry, ranks) for entry in value]
        known = [content for content in contents if content is not None]
        if not known or len(known) < len(contents):
            return None
        return _joined(known, ranks)
    return None


def _joined(contents: Sequence[Content], ranks: Sequence[int]) -> Content:
    if all(len(content) == 1 for content in contents):
        shown = "[" + ", ".join(content[0].shown for content in contents) + "]"
        return (Share(ranks, shown.encode(), shown),)
    shares = []
    for rank in ranks:
        own = [next(s for s in content if s.holds(rank)).shown for content in contents]
        shown = "[" + ", ".join(own) + "]"
        shares.append(Share((rank,), shown.encode(), shown))
    return tuple(shares)
