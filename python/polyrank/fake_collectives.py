"""What each collective operator moves and in which group: for modes and tools that see operators.

The names and numbers of `torch.distributed._tools.fake_collectives`, for all collectives that
PyTorch registers, and beside them what the tensors hold and what a network carries.
docs/trace.md compares them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed._functional_collectives  # registers operators that the table names
import torch.distributed._symmetric_memory
import torch.distributed.tensor._collective_utils
from torch._C import _distributed_c10d
from torch.utils._pytree import tree_leaves

from polyrank import _C
from polyrank.errors import UsageError

__all__ = [
    "CollectiveCost",
    "CollectiveOp",
    "FakeWork",
    "UnknownCollectiveError",
    "collective_ops",
    "create_fakework",
    "functional_collectives",
    "generate_unique_id",
    "non_functional_collectives",
    "sync_ops",
]

_Op = torch._ops.OpOverload
_Row = dict[str, Any]


class UnknownCollectiveError(UsageError, TypeError):
    """An operator that is no collective, or has nothing of what is asked for."""


def _operator(op_name: str) -> _Op | None:
    namespace, name = op_name.split("::")
    packet = getattr(getattr(torch.ops, namespace), name, None)
    return None if packet is None else packet.default


def _table() -> dict[_Op, _Row]:
    """The rows of the table of collectives, each with what PyTorch charges, by operator."""
    charged = dict(_C.charged_tensors())
    rows = {}
    for row in _C.collective_table():
        operator = _operator(row["op_name"])
        if row["kind"] != "not_a_collective" and operator is not None:
            rows[operator] = {**row, "charged": charged[row["op_name"]]}
    return rows


_TABLE = _table()
_LISTS = ("one", "per_member", "one_per_member", "coalesced", "member_by_tensor")


def _where(holds: Callable[[_Row], bool]) -> set[_Op]:
    return {operator for operator, row in _TABLE.items() if holds(row)}


def _is_functional(row: _Row) -> bool:
    return not row["op_name"].startswith("c10d::")


def _has_group_at(position: int, *, functional: bool) -> set[_Op]:
    return _where(lambda row: row["group"] == position and _is_functional(row) == functional)


def _charged_argument(row: _Row) -> tuple[int | None, str]:
    """Position and packing of the argument that is charged, if it is one argument."""
    if row["charged"] == "inputs":
        return row["inputs"], row["input_packing"]
    if row["charged"] == "outputs" and row["destination"] == "outputs":
        return row["outputs"], row["output_packing"]
    return None, "none"


def _charges_list_at(position: int) -> set[_Op]:
    return _where(
        lambda row: _charged_argument(row)[0] == position and _charged_argument(row)[1] in _LISTS
    )


def _charges_results(packing: str) -> set[_Op]:
    return _where(
        lambda row: (
            row["charged"] == "outputs"
            and row["destination"] == "results"
            and row["input_packing"] == packing
        )
    )


non_functional_collectives: set[_Op] = _where(lambda row: not _is_functional(row))
functional_collectives: set[_Op] = _where(_is_functional)
sync_ops: set[_Op] = _where(lambda row: row["kind"] in ("barrier", "monitored_barrier", "wait"))
collective_ops: set[_Op] = functional_collectives | non_functional_collectives


@dataclass(frozen=True)
class CollectiveCost:
    """What a collective costs on a network with one algorithm; docs/trace.md has the formulas."""

    algorithm: str
    steps: int  # messages that must come one after another
    wire_bytes: int  # that a rank sends; the busiest rank's where they differ
    formula: str  # of steps and bytes, in the group's size P and the payload S
    source: str


class CollectiveOp:
    """Facts about one call of a collective operator.

    `func` is the operator and `args`, `kwargs` its arguments as a `__torch_dispatch__` gets them,
    `res` what it returned. Tensors may be of any device, or fake.

    Raises, in all functions: an error that is a UsageError and a TypeError if `func` is no
        collective, or has nothing of what is asked for (a wait has no group).
    """

    # PyTorch's sets, with the operators that it leaves out.
    PG_ARG_1 = _has_group_at(1, functional=False)
    PG_ARG_2 = _has_group_at(2, functional=False)
    PG_ARG_3 = _has_group_at(2, functional=True)
    PG_ARG_4 = _has_group_at(3, functional=True)
    PG_ARG_5 = _has_group_at(4, functional=True)
    WK = _where(lambda row: row["returns"] == "work")
    WK_ARG_1 = _where(lambda row: row["returns"] == "tensors_and_work")
    COMM_TENSOR_ARG_0 = _charges_list_at(0)
    COMM_TENSOR_ARG_1 = _charges_list_at(1)
    COMM_TENSOR_ARG_RES = _charges_results("tensor")
    COMM_TENSOR_SINGLE_UNTYPED_STORAGE = _where(lambda row: _charged_argument(row) == (0, "tensor"))
    COMM_TENSOR_ARG_0_AND_RES = _where(lambda row: row["charged"] == "both")
    COMM_TENSOR_RES_SUM = _charges_results("coalesced")

    @staticmethod
    def sum_tensors(arg: Any) -> int:
        """Bytes of the storages of all tensors in `arg`, a pytree; a storage counts each time."""
        tensors = (leaf for leaf in tree_leaves(arg) if isinstance(leaf, torch.Tensor))
        return sum(tensor.untyped_storage().nbytes() for tensor in tensors)

    @staticmethod
    def get_process_group(
        func: _Op, args: Any, kwargs: dict[str, Any] | None = None
    ) -> torch.distributed.ProcessGroup:
        """The group that the call names."""
        with _type_errors():
            return _C.collective_process_group(_name(func), tuple(args), kwargs or {})

    @staticmethod
    def get_comm_tensor_size(
        func: _Op, res: Any, args: Any, kwargs: dict[str, Any] | None = None
    ) -> int:
        """PyTorch's size: bytes of whole storages, a view's base included."""
        with _type_errors():
            return _C.comm_tensor_size(_name(func), res, tuple(args), kwargs or {})

    @staticmethod
    def get_work(func: _Op, res: Any) -> torch.distributed.Work:
        """The Work among what the operator returned."""
        with _type_errors():
            return _C.collective_work(_name(func), res)

    @staticmethod
    def payload_bytes(func: _Op, res: Any, args: Any, kwargs: dict[str, Any] | None = None) -> int:
        """What the tensors hold of the buffer that the group works on: the S of the formulas."""
        with _type_errors():
            return _C.collective_payload_bytes(_name(func), res, tuple(args), kwargs or {})

    @staticmethod
    def cost(
        func: _Op,
        res: Any,
        args: Any,
        kwargs: dict[str, Any] | None = None,
        *,
        algorithm: str | None = None,
    ) -> CollectiveCost:
        """Steps and bytes on the wire: "ring", "tree", "halving_doubling", "direct", or by default
        the usual algorithm of its kind.

        Raises:
            UsageError: the model has no such algorithm for this collective.
        """
        payload = CollectiveOp.payload_bytes(func, res, args, kwargs)
        group_size = CollectiveOp.get_process_group(func, args, kwargs).size()
        kind = _TABLE[func]["kind"]
        found = _C.collective_cost(kind, algorithm, group_size, payload)
        if found is None:
            raise UsageError(f"the cost model has no {algorithm} {kind}; docs/trace.md lists them")
        return CollectiveCost(*found)


def generate_unique_id() -> int:
    """A number that no other call gives. Python's `random` is left alone."""
    return _C.generate_unique_id()


class FakeWork(_distributed_c10d.FakeWork):
    """A Work that is complete from the start, with a `seq_id` of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.seq_id = generate_unique_id()


def create_fakework(args: Any, return_first_arg: bool = True) -> Any:
    """What a collective on meta tensors returns: a boxed FakeWork, after its first argument."""
    work = FakeWork().boxed()
    return (args[0], work) if return_first_arg else work


@contextlib.contextmanager
def _type_errors() -> Iterator[None]:
    """Lets UsageErrors of the core be TypeErrors too, as PyTorch's are."""
    try:
        yield
    except UsageError as error:
        raise UnknownCollectiveError(str(error)) from None


def _name(func: Any) -> str:
    if func not in _TABLE:
        raise UnknownCollectiveError(
            f"{func} is no collective; polyrank.fake_collectives.collective_ops lists those that "
            "there are"
        )
    return _TABLE[func]["op_name"]  # type: ignore[no-any-return]
