"""Rank-dependent numbers against a naive model: one plain number a rank."""

from __future__ import annotations

import copy
import math
import operator
import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polyrank.lockstep_world.groups.group_ranks  # noqa: F401 (tells which parts of torch act as a program does)
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from polyrank import DivergenceError, LocalIntNode, UnsupportedOpError, UsageError
from torch.distributed._local_tensor import LocalIntNode as PyTorchLocalIntNode
from torch.fx.experimental._constant_symnode import ConstantIntNode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

if TYPE_CHECKING:
    from collections.abc import Callable

WORLD_SIZE = 4
MIN_INT, MAX_INT = -(2**63), 2**63 - 1

Number = int | float | bool
Ranks = list[Number]  # the value of each rank

small_ints = st.integers(-6, 6)
ints = small_ints | st.integers(MIN_INT, MAX_INT) | st.sampled_from([MIN_INT, MAX_INT, 2**53 + 1])


def of_ranks(values: st.SearchStrategy[int]) -> st.SearchStrategy[Ranks]:
    """Values of all ranks; often some are equal."""
    return st.lists(values, min_size=WORLD_SIZE, max_size=WORLD_SIZE)


def symint(values: Ranks) -> Any:
    return torch.SymInt(LocalIntNode(dict(enumerate(values))))


def by_rank(result: Any) -> Ranks:
    """What each rank holds, of a rank-dependent number or a plain one."""
    if isinstance(result, torch.SymInt | torch.SymFloat | torch.SymBool):
        result = result.node
    if hasattr(result, "_local_ints"):
        return list(result._local_ints.values())
    if hasattr(result, "guard_bool"):
        result = result.guard_bool("", 0)
    return [result] * WORLD_SIZE


def same(actual: Ranks, expected: Ranks) -> bool:
    """Equal in type and value, signs of zeros included."""
    return [repr(value) for value in actual] == [repr(value) for value in expected]


BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "sym_max": torch.sym_max,
    "sym_min": torch.sym_min,
    "sym_sum": lambda a, b: torch.sym_sum([a, b, a]),
    "affine": lambda a, b: 3 * a - b + 1,
    "branch-free choice": lambda a, b: torch.sym_int(torch.sym_float(a > b)) * 10,
    "both": lambda a, b: (a == 1) & (b != 2),
    "either": lambda a, b: (a < 0) | (b == 2),
    "negated": lambda a, b: torch.sym_not(a == b),
}

UNARY: dict[str, Callable[[Any], Any]] = {
    "-": operator.neg,
    "+": operator.pos,
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "trunc": math.trunc,
    "round": round,
    "sym_int": torch.sym_int,
    "sym_float": torch.sym_float,
    "floor of half": lambda a: math.floor(a / 2),
    "ceil of half": lambda a: math.ceil(a / 2),
    "trunc of half": lambda a: torch.sym_int(a / 2),
    "round of half": lambda a: round(a / 2),
    "round to digits": lambda a: round(a / 7, 2),
    "half is an integer": lambda a: (a / 2).is_integer(),
    "square": lambda a: a**2,
    "left shift": lambda a: a << 1,
    "right shift": lambda a: a >> 1,
    "from the left": lambda a: 100 - a,
    "floor divided": lambda a: 100 // a,
    "modulo": lambda a: 100 % a,
    "divided": lambda a: 1 / a,
    "float operands": lambda a: (a + 0.5) * 2.0 - 1.5 / (a + 0.25),
    "float modulo": lambda a: a % 2.5,
    "compared with a float": lambda a: a < 0.5,
    "with a bool": lambda a: a + True,
}


def _result_or_error(function: Callable[..., Any], values: tuple[Any, ...]) -> Any:
    try:
        return function(*values)
    except (ArithmeticError, ValueError) as error:
        return error


def check(function: Callable[..., Any], *operands: Ranks) -> None:
    """On each rank the result is what Python gives there; where Python has an error on all, the error."""
    # PyTorch unpacks a constant before it gets to a node, and Python's own operators do the rest.
    assume(all(len(set(values)) > 1 for values in operands))
    expected = [_result_or_error(function, values) for values in zip(*operands, strict=True)]
    if num_errors := sum(isinstance(result, ArithmeticError | ValueError) for result in expected):
        kind = UsageError if num_errors == len(expected) else DivergenceError
        with pytest.raises(kind, match=r"on ranks? \d"):
            function(*map(symint, operands))
        return
    actual = by_rank(function(*map(symint, operands)))
    assert same(actual, expected), (actual, expected)


@pytest.mark.parametrize("name", BINARY)
@given(a=of_ranks(small_ints), b=of_ranks(small_ints))
def test_binary_operators_are_pythons_on_each_rank(name: str, a: Ranks, b: Ranks) -> None:
    check(BINARY[name], a, b)


@pytest.mark.parametrize("name", ["+", "-", "*", "/", "//", "%", "<", "==", "&", "^", "sym_max"])
@given(a=of_ranks(ints), b=of_ranks(ints))
def test_binary_operators_on_large_ints(name: str, a: Ranks, b: Ranks) -> None:
    check(BINARY[name], a, b)


@pytest.mark.parametrize("name", UNARY)
@given(a=of_ranks(small_ints))
def test_unary_operators_are_pythons_on_each_rank(name: str, a: Ranks) -> None:
    check(UNARY[name], a)


@given(a=of_ranks(st.integers(0, 6)), base=st.integers(-3, 3))
def test_powers(a: Ranks, base: int) -> None:
    check(lambda exponent: base**exponent, a)
    check(lambda exponent: 2.0**exponent, a)


def test_a_power_is_int_or_float_on_all_ranks() -> None:
    assert by_rank(symint([1, 2, 4, 8]) ** -1) == [1.0, 0.5, 0.25, 0.125]
    with pytest.raises(DivergenceError):
        2 ** symint([1, -1, 1, 1])


@pytest.mark.parametrize("name", ["sqrt", "cos", "cosh", "sin", "sinh", "tan", "tanh", "atan"])
def test_math_functions(name: str) -> None:
    values = [0, 1, 2, 3]
    result = getattr(torch, f"_sym_{name}")(symint(values))
    assert by_rank(result) == pytest.approx([getattr(math, name)(value) for value in values])


# --- PyTorch's LocalIntNode --------------------------------------------------------------------

METHODS = ["add", "sub", "mul", "floordiv", "int_floordiv", "mod", "sym_min", "sym_max"]
COMPARISONS = ["eq", "ne", "lt", "le", "gt", "ge"]


NODES = (LocalIntNode, PyTorchLocalIntNode)


def result_of(node: Any, method: str, values: Ranks, *operands: Any) -> Ranks | str:
    """The value of each rank, or that there is none."""
    try:
        result = getattr(node(dict(enumerate(values))), method)(*operands)
    except (AssertionError, ZeroDivisionError, UsageError, DivergenceError):
        return "error"
    known = result.maybe_as_int() if hasattr(result, "maybe_as_int") else None
    return by_rank(result if known is None else known)


@pytest.mark.parametrize("method", METHODS + COMPARISONS)
@given(a=of_ranks(small_ints), b=of_ranks(small_ints))
def test_methods_give_what_pytorchs_give(method: str, a: Ranks, b: Ranks) -> None:
    assume(len(set(a)) > 1)
    plain = b[0]
    operands: list[Callable[[Any], Any]] = [
        lambda node: node(dict(enumerate(b))),
        lambda _: plain,
        lambda _: ConstantIntNode(plain),
    ]
    for operand in operands:
        ours, theirs = (result_of(node, method, a, operand(node)) for node in NODES)
        assert ours == theirs


@given(a=of_ranks(small_ints))
def test_a_node_looks_like_pytorchs(a: Ranks) -> None:
    values = dict(enumerate(a))
    ours, theirs = LocalIntNode(values), PyTorchLocalIntNode(values)
    if len(set(a)) == 1:
        assert isinstance(ours, ConstantIntNode)
        assert isinstance(theirs, ConstantIntNode)
        assert ours.val == theirs.val == int(torch.SymInt(ours))
        return
    assert isinstance(ours, LocalIntNode)
    for question in (
        "maybe_as_int",
        "is_int",
        "is_float",
        "is_bool",
        "is_nested_int",
        "is_symbolic",
        "is_constant",
    ):
        assert getattr(ours, question)() == getattr(theirs, question)(), question
    assert ours._local_ints == theirs._local_ints
    assert by_rank(ours.clone()) == by_rank(theirs.clone())
    assert result_of(LocalIntNode, "neg", a) == result_of(PyTorchLocalIntNode, "neg", a)
    terms = [1, ConstantIntNode(2)]
    assert by_rank(ours.sym_sum([ours, *terms])) == by_rank(theirs.sym_sum([theirs, *terms]))
    assert ours.wrap_int(3).maybe_as_int() == theirs.wrap_int(3).maybe_as_int() == 3
    if len(set(a)) == WORLD_SIZE:
        assert str(ours) == repr(ours) == ours._graph_repr() == str(theirs)


def test_the_constructor_takes_pytorchs_keyword() -> None:
    assert LocalIntNode(local_ints={0: 1, 1: 2})._local_ints == {0: 1, 1: 2}


@pytest.mark.parametrize(
    "local_ints", [{}, {-1: 1, 0: 2}, {0: "one"}, {0: 1.5, 1: 2}, {0: 2**63, 1: 0}, [1, 2], None]
)
def test_a_node_needs_an_int_for_each_rank(local_ints: Any) -> None:
    with pytest.raises((UsageError, TypeError)):
        LocalIntNode(local_ints)


# --- Who asks ----------------------------------------------------------------------------------

TORCH_FOLDER = Path(torch.__file__).parent


def compare_in(file: Path | str, module: str, expression: str) -> Callable[[Any], Any]:
    """A function whose code claims to be from `file` of `module`."""
    namespace = {"__name__": module, "torch": torch}
    exec(compile(f"def ask(rank):\n    return {expression}\n", str(file), "exec"), namespace)
    return namespace["ask"]


IN_TORCH = [
    (TORCH_FOLDER / "_utils.py", "torch._utils"),
    (
        TORCH_FOLDER / "distributed" / "tensor" / "somewhere.py",
        "torch.distributed.tensor.somewhere",
    ),
]
GENERATED_IN_TORCH = [("<string>", "torch.distributed.somewhere"), ("<string>", "torch")]
# Branches in the rest of torch are a program's.
ELSEWHERE = [
    (TORCH_FOLDER / "fx" / "somewhere.py", "torch.fx.somewhere"),
    ("/home/somebody/train.py", "__main__"),
    (TORCH_FOLDER / "distributed" / "somewhere.py", "torch.distributed.somewhere"),
    (f"{TORCH_FOLDER}titan/train.py", "torchtitan.train"),
    ("<string>", "torchtitan.train"),
    ("<stdin>", "__main__"),
]


@pytest.mark.parametrize(("file", "module"), IN_TORCH + GENERATED_IN_TORCH)
def test_torchs_own_code_compares_on_all_ranks(file: Path | str, module: str) -> None:
    rank = symint([0, 1, 2, 3])
    assert compare_in(file, module, "rank == 0")(rank) is False
    assert compare_in(file, module, "rank != 0")(rank) is True
    assert compare_in(file, module, "0 == rank")(rank) is False
    assert compare_in(file, module, "rank == rank")(rank) is True
    assert compare_in(file, module, "bool(rank)")(rank) is True
    assert compare_in(file, module, "rank in [1, 2]")(rank) is False
    assert compare_in(file, module, "[rank, 1] == [0, 1]")(rank) is False
    for expression in ("rank < 2", "rank >= 1", "max(rank, 1)"):
        with pytest.raises(DivergenceError, match="PyTorch asks for one answer"):
            compare_in(file, module, expression)(rank)


@pytest.mark.parametrize(("file", "module"), ELSEWHERE)
def test_a_programs_code_compares_by_rank(file: Path | str, module: str) -> None:
    rank = symint([0, 1, 2, 3])
    assert by_rank(compare_in(file, module, "rank == 0")(rank)) == [True, False, False, False]
    assert by_rank(compare_in(file, module, "rank != 0")(rank)) == [False, True, True, True]
    assert by_rank(compare_in(file, module, "rank < 2")(rank)) == [True, True, False, False]
    assert by_rank(compare_in(file, module, "2 <= rank")(rank)) == [False, False, True, True]
    assert compare_in(file, module, "rank < 4")(rank) is True
    assert compare_in(file, module, "rank == 4")(rank) is False


def test_comparing_sizes_compares_what_differs() -> None:
    rank = symint([0, 1, 2, 3])
    size = torch.Size([3, 4])
    assert size != (rank + 5, 4)  # on all ranks
    with pytest.raises(
        DivergenceError, match="disagree about a branch: False on ranks 0,2-3, True"
    ):
        bool(size == (rank + 2, 4))


def test_operators_of_pytorch_compare_on_all_ranks() -> None:
    rows = symint([2, 3, 4, 5])
    with torch.device("meta"):
        assert torch.empty(rows, 3).is_contiguous()
        assert torch.empty(rows, 3).shape != torch.empty(9, 3).shape
        assert not torch.empty_strided((rows, 3), (3 + rows, 1)).is_contiguous()


# --- Divergence --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "branch",
    [
        lambda rank: 1 if rank == 0 else 2,
        bool,
        lambda rank: bool(rank == 0 and rank == 1),
        lambda rank: rank in [0, 1],
        lambda rank: sorted([1, rank]),
        lambda rank: hash(rank == 0),
        lambda rank: torch._check(rank == 0),
    ],
)
def test_a_branch_on_which_ranks_disagree(branch: Callable[[Any], Any]) -> None:
    with pytest.raises(DivergenceError) as raised:
        branch(symint([0, 1, 1, 1]))
    assert re.search("ranks disagree about a branch: (True|False) on rank 0, ", str(raised.value))
    assert "on ranks 1-3" in str(raised.value)
    assert "`polyrank run --world threads` (the threads world)" in str(raised.value)


@pytest.mark.parametrize(
    "ask",
    [
        int,
        float,
        range,
        lambda rank: [1, 2, 3][rank],
        lambda rank: "%d" % rank,  # noqa: UP031
        torch.tensor,
        lambda rank: rank.bit_length(),
        lambda rank: float(rank / 2),
    ],
)
def test_one_number_where_ranks_differ(ask: Callable[[Any], Any]) -> None:
    with pytest.raises(DivergenceError, match=r"on rank 0, .* on ranks 1-3"):
        ask(symint([0, 1, 1, 1]))


def test_errors_of_all_ranks_are_pythons_and_those_of_some_are_divergences() -> None:
    with pytest.raises(DivergenceError):
        bool(symint([0, 1]) < 1)
    with pytest.raises(DivergenceError):
        int(symint([0, 1]))
    with pytest.raises(DivergenceError, match="division by zero on ranks 1-2: 7 // 0"):
        7 // symint([1, 0, 0, 2])
    with pytest.raises(ZeroDivisionError, match="division by zero on ranks 0-3: "):
        symint([7, 8, 9, 9]) // 0


def test_a_number_that_all_ranks_share_is_plain() -> None:
    rank = symint([0, 1, 2, 3])
    assert type(rank - rank) is int
    assert type(rank >= 0) is bool
    one = (rank + 1) / (rank + 1)
    assert (float(one), int(one), bool(one), hash(one)) == (1.0, 1, True, hash(1.0))
    assert int(abs(2 * symint([0, 1]) - 1)) == 1
    assert list(range(abs(2 * symint([0, 1]) - 1))) == [0]


# --- The rest ----------------------------------------------------------------------------------


def test_text() -> None:
    rank = symint([0, 0, 1, 1])
    assert repr(rank) == str(rank) == f"{rank}" == "LocalIntNode({0-1: 0, 2-3: 1})"
    assert repr(rank == 0) == "LocalBoolNode({0-1: True, 2-3: False})"
    assert repr(rank / 2) == "LocalFloatNode({0-1: 0.0, 2-3: 0.5})"
    many = torch.SymInt(LocalIntNode({rank: rank for rank in range(100_000)}))
    assert len(repr(many)) < 200
    with pytest.raises(DivergenceError) as raised:
        int(many)
    assert len(str(raised.value)) < 500


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled])
def test_copies(copied: Callable[[Any], Any]) -> None:
    rank = symint([0, 0, 1, 1])
    assert by_rank(copied(rank)) == [0, 0, 1, 1]
    assert by_rank(copied(rank / 2)) == [0.0, 0.0, 0.5, 0.5]
    assert by_rank(copied(rank == 0)) == [True, True, False, False]


def test_hash_is_pytorchs() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(symint([0, 1]))


def test_numbers_over_other_ranks() -> None:
    outer = torch.SymInt(LocalIntNode({0: 1, 1: 2, 2: 3, 3: 4}))
    inner = torch.SymInt(LocalIntNode({1: 10, 2: 20}))
    assert (outer + inner).node._local_ints == {1: 12, 2: 23}
    assert (inner + outer).node._local_ints == {1: 12, 2: 23}
    with pytest.raises(UsageError, match="over ranks 1-2, the other over ranks 0,7"):
        inner + torch.SymInt(LocalIntNode({0: 1, 7: 2}))


def test_other_symbols_are_refused() -> None:
    symbol = ShapeEnv().create_unbacked_symint()
    with pytest.raises(UnsupportedOpError, match="symbolic"):
        symint([0, 1]) + symbol
    with pytest.raises(UnsupportedOpError):
        symint([0, 1]).node.add(PyTorchLocalIntNode({0: 1, 1: 2}))
