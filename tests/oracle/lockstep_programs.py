"""Random programs of a lockstep world, as hypothesis strategies, and their rank-by-rank reference.

A program is a list of steps on a `State`. The simulators run them on one State for all ranks; the
reference runs each step on a State for each rank in plain torch, and a collective by a naive loop
over the ranks' tensors. A step that any rank refuses is left out, in all worlds (`run_reference`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from hypothesis import strategies as st
from oracle.naive_collectives import COLLECTIVES, Family
from torch import Tensor


@dataclass
class State:
    """What a program holds: on one rank, or in a simulator on all."""

    rank: Any
    tensors: list[Tensor] = field(default_factory=list)
    ints: list[Any] = field(default_factory=list)

    def tensor(self, which: int) -> Tensor:
        """One of the tensors."""
        return self.tensors[which % len(self.tensors)]

    def int(self, which: int) -> Any:
        """One of the ints; the rank is the first."""
        return ([self.rank, *self.ints])[which % (1 + len(self.ints))]


@dataclass(frozen=True)
class LocalStep:
    """What each rank does on its own."""

    text: str
    run: Callable[[State], None]
    differs_in_simulator: bool = False  # docs/differences.md says why

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True)
class CollectiveStep:
    """One collective on one of the world's families of groups."""

    name: str
    which: int
    family: int
    root: int

    def __repr__(self) -> str:
        return f"{self.name}(t{self.which}, family {self.family}, root {self.root})"


Step = LocalStep | CollectiveStep


@dataclass(frozen=True)
class Program:
    """The world, its groups, and the steps."""

    world_size: int
    families: tuple[Family, ...]
    steps: tuple[Step, ...]
    seed: int


# --- The steps of one rank ----------------------------------------------------------------------

# From a tensor x, another y, an int n that may differ between ranks, and a drawn number k.
Function = Callable[[Tensor, Tensor, Any, int], Any]


def _size(n: Any) -> Any:
    return n % 3 + 1


MAKES: dict[str, Function] = {
    "add": lambda x, y, n, k: x + y,
    "mul rank": lambda x, y, n, k: x * n,
    "sub": lambda x, y, n, k: x - 0.25 * y,
    "where": lambda x, y, n, k: torch.where(x > y, x, y),
    "tanh": lambda x, y, n, k: torch.tanh(x.float()),
    "sum": lambda x, y, n, k: x.sum(k % 2, keepdim=True),
    "matmul": lambda x, y, n, k: x.float() @ y.float().t(),
    "softmax": lambda x, y, n, k: torch.softmax(x.float(), -1),
    "cumsum": lambda x, y, n, k: x.cumsum(0),
    "sort": lambda x, y, n, k: x.sort(0).values,
    "topk": lambda x, y, n, k: x.topk(1, k % 2).indices,
    "cat": lambda x, y, n, k: torch.cat([x, y]),
    "stack": lambda x, y, n, k: torch.stack([x, y]).flatten(0, 1),
    "to int": lambda x, y, n, k: x.mul(3).long(),
    "to bfloat16": lambda x, y, n, k: x.bfloat16(),
    "to float": lambda x, y, n, k: x.float(),
    "roll": lambda x, y, n, k: x.roll(n, 0),
    "clone": lambda x, y, n, k: x.clone(),
    "nonzero rows": lambda x, y, n, k: x[x.select(1, 0) > 0],
    "index by numbers": lambda x, y, n, k: x[torch.zeros(2, dtype=torch.int64) + n % 2],
    "gather": lambda x, y, n, k: x.gather(0, (y.abs().long() % 2).narrow(0, 0, 1)),
    "repeat": lambda x, y, n, k: x.repeat(_size(n), 1),
    "full": lambda x, y, n, k: torch.full((_size(n), 3), 0.5),
    "arange": lambda x, y, n, k: torch.arange(_size(n) * 3).view(-1, 3),
    "pad": lambda x, y, n, k: torch.nn.functional.pad(x, (0, 0, 0, 1)),
    "gradient": lambda x, y, n, k: _gradient(x),
    "one_hot": lambda x, y, n, k: torch.nn.functional.one_hot(x.select(1, 0).long() % 3, 3),
    "foreach": lambda x, y, n, k: torch._foreach_mul([x, y], [2.0, 3.0])[k % 2],
}
VIEWS: dict[str, Function] = {
    "rows": lambda x, y, n, k: x[k % 2 :],
    "rows from rank": lambda x, y, n, k: x[n % 2 :],
    "narrow": lambda x, y, n, k: x.narrow(0, n % 2, 1),
    "step": lambda x, y, n, k: x[:: 1 + k % 2],
    "transpose": lambda x, y, n, k: x.t(),
    "reshape": lambda x, y, n, k: x.reshape(-1, 3),
    "view": lambda x, y, n, k: x.view(-1, 1),
    "expand": lambda x, y, n, k: x.narrow(0, 0, 1).expand(2, -1),
    "detach": lambda x, y, n, k: x.detach(),
    "diagonal": lambda x, y, n, k: x.diagonal()[None],
    "chunk": lambda x, y, n, k: x.chunk(2, 1)[k % 2],
    "view of a part": lambda x, y, n, k: x.as_strided((1, 2), (1, 1), k % 2),
}
WRITES: dict[str, Function] = {
    "add_": lambda x, y, n, k: x.add_(y),
    "mul_": lambda x, y, n, k: x.mul_(0.5 + k),
    "add_ rank": lambda x, y, n, k: x.add_(n),
    "copy_": lambda x, y, n, k: x.copy_(y),
    "fill_": lambda x, y, n, k: x.fill_(k),
    "row =": lambda x, y, n, k: x.__setitem__(k % 2, y[0]),
    "row of rank =": lambda x, y, n, k: x.narrow(0, n % 2, 1).fill_(k),
    "masked_fill_": lambda x, y, n, k: x.masked_fill_(x > 0, 2),
    "index_add_": lambda x, y, n, k: x.index_add_(
        0, torch.zeros(1, dtype=torch.int64), y.narrow(0, 0, 1)
    ),
    "foreach_": lambda x, y, n, k: torch._foreach_add_([x, y], 1),
    "out=": lambda x, y, n, k: torch.maximum(x, y, out=x),
    "t_": lambda x, y, n, k: x.t_(),
    "scatter_": lambda x, y, n, k: x.scatter_(0, (y.abs().long() % 2).narrow(0, 0, 1), 1.0),
}
DRAWS: dict[str, Function] = {
    "rand": lambda x, y, n, k: torch.rand(2, 3),
    "randn of rank": lambda x, y, n, k: torch.randn(_size(n), 3),
    "rand_like": lambda x, y, n, k: torch.rand_like(x),
    "dropout": lambda x, y, n, k: torch.nn.functional.dropout(x, 0.5),
    "bernoulli": lambda x, y, n, k: torch.bernoulli(torch.sigmoid(x.float())),
    "randperm": lambda x, y, n, k: x[torch.randperm(2)],
    "randint": lambda x, y, n, k: torch.randint(0, 9, (2, 3)),
    "multinomial": lambda x, y, n, k: torch.multinomial(x.float().abs() + 1, 1),
}
DRAWS_INTO: dict[str, Function] = {
    "normal_": lambda x, y, n, k: x.normal_(),
    "uniform_": lambda x, y, n, k: x.uniform_(),
    "manual_seed": lambda x, y, n, k: torch.manual_seed(k),
    "manual_seed of rank": lambda x, y, n, k: torch.manual_seed(n + k),
    "bernoulli_": lambda x, y, n, k: x.bernoulli_(0.5),
}
INTS: dict[str, Function] = {
    "n + k": lambda x, y, n, k: n + k,
    "k - n": lambda x, y, n, k: k - n,
    "n * 2": lambda x, y, n, k: n * 2,
    "n % k": lambda x, y, n, k: n % (1 + k),
    "n // 2": lambda x, y, n, k: n // 2,
    "-n": lambda x, y, n, k: -n,
    "size": lambda x, y, n, k: x.shape[k % 2],
    "numel": lambda x, y, n, k: x.numel(),
    "item": lambda x, y, n, k: x.long().sum().item(),
    "max": lambda x, y, n, k: torch.sym_max(n, k),
}
# Named on the page, as "//, %, &, <<, **, abs by a rank-dependent int", "generators" and others.
INTS_THAT_DIFFER: dict[str, Function] = {
    "k // n": lambda x, y, n, k: (k + 5) // (n * n + 1),
    "n & 1": lambda x, y, n, k: n & 1,
    "abs": lambda x, y, n, k: abs(n - 1),
    "n ** 2": lambda x, y, n, k: (n % 5) ** 2,
}
MAKES_THAT_DIFFER: dict[str, Function] = {
    "generator": lambda x, y, n, k: torch.rand(2, 3, generator=torch.Generator().manual_seed(k)),
    "row of rank": lambda x, y, n, k: x[n % 2][None],
    "tensor of rank": lambda x, y, n, k: torch.tensor(n).view(1, 1),
    "literal": lambda x, y, n, k: torch.tensor([[1.0, 2.0, 3.0]]) * n,
    "rank / 2": lambda x, y, n, k: x * (n / 2),
    "piece of rank": lambda x, y, n, k: torch.stack([x.narrow(0, 0, 1), y.narrow(0, 0, 1)]).unbind(
        0
    )[n % 2],
    "random like literal": lambda x, y, n, k: torch.rand_like(torch.tensor([[1.0, 2.0, 3.0]])),
}


def _gradient(x: Tensor) -> Tensor:
    x = x.detach().float().requires_grad_()
    loss = (torch.tanh(x * x.detach()).t() * 2).sum()
    return torch.autograd.grad(loss, x)[0]


_MAX_NUMEL = 64


def _local_steps(
    table: dict[str, Function], keep: str, *, differs: bool = False
) -> st.SearchStrategy[LocalStep]:
    def make(name: str, a: int, b: int, i: int, k: int) -> LocalStep:
        def run(state: State) -> None:
            made = table[name](state.tensor(a), state.tensor(b), state.int(i), k)
            if keep == "tensors":
                state.tensors.append(made)
            elif keep == "ints":
                state.ints.append(made)

        return LocalStep(f"{name}(t{a}, t{b}, n{i}, {k})", run, differs)

    number = st.integers(0, 11)
    return st.builds(
        make, st.sampled_from(sorted(table)), number, number, number, st.integers(0, 4)
    )


local_steps = st.one_of(
    _local_steps(MAKES, "tensors"),
    _local_steps(VIEWS, "tensors"),
    _local_steps(WRITES, "nothing"),
    _local_steps(DRAWS, "tensors"),
    _local_steps(DRAWS_INTO, "nothing"),
    _local_steps(INTS, "ints"),
    _local_steps(INTS_THAT_DIFFER, "ints", differs=True),
    _local_steps(MAKES_THAT_DIFFER, "tensors", differs=True),
)
collective_steps = st.builds(
    CollectiveStep,
    st.sampled_from(sorted(COLLECTIVES)),
    st.integers(0, 11),
    st.integers(0, 3),
    st.integers(0, 3),
)


@st.composite
def families(draw: st.DrawFn, world_size: int) -> Family:
    """Groups that cover the world: its mesh's, contiguous or strided ones, or subgroups as drawn."""
    kind = draw(st.sampled_from(["world", "mesh", "subgroups"]))
    ranks = range(world_size)
    if kind == "world":
        return Family(kind, (tuple(ranks),))
    size = draw(st.sampled_from([s for s in range(1, world_size + 1) if world_size % s == 0]))
    count = world_size // size
    if kind == "subgroups":  # which PyTorch sorts
        order = draw(st.permutations(ranks))
        drawn = [sorted(order[i * size : (i + 1) * size]) for i in range(count)]
        return Family(kind, tuple(map(tuple, drawn)))
    if draw(st.booleans()):
        return Family(kind, tuple(tuple(ranks[i::count]) for i in range(count)), mesh_dim=0)
    together = (tuple(ranks[i * size : (i + 1) * size]) for i in range(count))
    return Family(kind, tuple(together), mesh_dim=1)


@st.composite
def groups_alone(draw: st.DrawFn, world_size: int) -> Family:
    """One group, as `new_group` makes it."""
    order = draw(st.permutations(range(world_size)))
    return Family("new_group", (tuple(order[: draw(st.integers(1, world_size))]),))


@st.composite
def groups_of_program(draw: st.DrawFn, world_size: int) -> tuple[Family, ...]:
    """Families, and groups in any order that stand alone."""
    kinds = st.one_of(families(world_size), groups_alone(world_size))
    return tuple(draw(st.lists(kinds, min_size=1, max_size=3)))


@st.composite
def programs(draw: st.DrawFn, max_size: int = 14) -> Program:
    """Worlds of 2, 3, 4 and 6 ranks, with some groups."""
    world_size = draw(st.sampled_from([4, 2, 3, 6]))
    groups = draw(groups_of_program(world_size))
    step = st.one_of(local_steps, local_steps, collective_steps)
    steps = draw(st.lists(step, min_size=1, max_size=max_size))
    return Program(world_size, groups, tuple(steps), draw(st.integers(0, 99)))


# --- Running them ---------------------------------------------------------------------------------


def start(rank: Any, make: Callable[[Callable[[int], Tensor]], Tensor]) -> State:
    """What each program begins with: shared, distinct and uneven tensors."""
    return State(
        rank,
        [
            torch.ones(2, 3),
            make(lambda r: _numbers(2, r)),
            make(lambda r: _numbers(1 + r % 3, 10 + r)),
            make(lambda r: _numbers(6, 20 + r % 2)),
        ],
    )


def _numbers(rows: int, seed: int) -> Tensor:
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed))


class Reference:
    """The ranks of a world, one after another in plain torch."""

    def __init__(self, program: Program) -> None:
        self.program = program
        torch.manual_seed(program.seed)
        self.states = [start(rank, lambda f, r=rank: f(r)) for rank in range(program.world_size)]
        self._generators = [torch.random.get_rng_state()] * program.world_size

    def run(self, step: Step) -> bool:
        """Run a step on all ranks, or on none if any refuses it; whether it was run."""
        states, generators = copy.deepcopy((self.states, self._generators))
        try:
            if isinstance(step, CollectiveStep):
                family = self.program.families[step.family % len(self.program.families)]
                COLLECTIVES[step.name].run_naively(
                    [state.tensors for state in states], step.which, family, step.root
                )
            else:
                for rank, state in enumerate(states):
                    torch.random.set_rng_state(generators[rank])
                    step.run(state)
                    generators[rank] = torch.random.get_rng_state()
        except (RuntimeError, IndexError, ValueError, ArithmeticError, TypeError):
            return False
        if not all(_is_plain(state) for state in states) or not _alike(states):
            return False
        self.states, self._generators = states, generators
        return True


def _is_plain(state: State) -> bool:
    """Tensors of two dimensions that are not large, and small ints: what later steps work with."""
    small = all(t.dim() == 2 and t.numel() <= _MAX_NUMEL for t in state.tensors)
    return small and all(abs(i) < 1000 for i in state.ints)


def _alike(states: Sequence[State]) -> bool:
    kinds = [[(t.dtype, t.dim()) for t in state.tensors] for state in states]
    return all(kind == kinds[0] for kind in kinds)


def run_reference(program: Program, *, for_simulator: bool) -> tuple[list[Step], list[State]]:
    """The steps that all ranks can run, and what the ranks hold afterwards.

    `for_simulator` leaves out those that docs/differences.md lists.
    """
    with torch.random.fork_rng(devices=()):
        reference = Reference(program)
        steps = [
            step
            for step in program.steps
            if not (for_simulator and differs_in_simulator(step, program)) and reference.run(step)
        ]
        return steps, reference.states


def differs_in_simulator(step: Step, program: Program) -> bool:
    """Whether the page says that PyTorch's simulator gets this step wrong."""
    if isinstance(step, LocalStep):
        return step.differs_in_simulator
    family = program.families[step.family % len(program.families)]
    return COLLECTIVES[step.name].differs_in_simulator(family, step.root, program.world_size)


def run_in_lockstep(program: Program, steps: list[Step], state: State) -> None:
    """Run the steps once for all ranks, with torch.distributed as it is now."""
    groups = [family.make() for family in program.families]
    torch.manual_seed(program.seed)
    for step in steps:
        if isinstance(step, CollectiveStep):
            which = step.family % len(groups)
            size = program.families[which].group_size
            COLLECTIVES[step.name].run(state.tensors, step.which, groups[which], size, step.root)
        else:
            step.run(state)
