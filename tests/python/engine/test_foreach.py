"""foreach and fused operators, and the optimizers that use them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from oracle.as_alone import Argument, assert_as_alone, distinct, each, mixed, shared
from oracle.rank_by_rank import num_cohorts
from torch import Tensor

# Lists whose members have cohorts of their own.
LISTS = {
    "of all kinds": (shared(3), mixed(2, 2, seed=1), distinct(4, seed=2)),
    "shared": (shared(3), shared(2, 2, seed=1), shared(4, seed=2)),
    "distinct": (distinct(3), distinct(2, 2, seed=1), distinct(4, seed=2)),
}
lists = pytest.mark.parametrize("tensors", LISTS.values(), ids=LISTS.keys())

FOREACH: dict[str, Any] = {
    "add scalar": lambda xs: torch._foreach_add(xs, 2.0),
    "add list": lambda xs: torch._foreach_add(xs, [x * 2 for x in xs], alpha=0.5),
    "add_": lambda xs: torch._foreach_add_(xs, xs),
    "mul_ scalars": lambda xs: torch._foreach_mul_(xs, [1.0, 2.0, 3.0]),
    "mul_ tensor": lambda xs: torch._foreach_mul_(xs, xs[0].sum()),
    "addcmul_": lambda xs: torch._foreach_addcmul_(xs, xs, [x + 1 for x in xs], value=0.1),
    "addcdiv_": lambda xs: torch._foreach_addcdiv_(xs, xs, [x.exp() for x in xs], value=0.1),
    "lerp_": lambda xs: torch._foreach_lerp_(xs, [x * 3 for x in xs], 0.3),
    "sqrt": lambda xs: torch._foreach_sqrt(torch._foreach_abs(xs)),
    "norm": lambda xs: torch._foreach_norm(xs, 2),
    "copy_": lambda xs: torch._foreach_copy_([torch.zeros_like(x) for x in xs], xs),
    "zero_": torch._foreach_zero_,
    "max": torch._foreach_max,
    "clip": torch.nn.utils.get_total_norm,
}


@lists
@pytest.mark.parametrize("function", FOREACH.values(), ids=FOREACH.keys())
def test_foreach(function: Any, tensors: tuple[Argument, ...]) -> None:
    assert_as_alone(lambda *xs: function(list(xs)), *tensors)


def test_foreach_keeps_cohorts_of_each_tensor() -> None:
    xs = assert_as_alone(lambda *xs: torch._foreach_mul(list(xs), 2.0), *LISTS["of all kinds"])
    assert [num_cohorts(x) for x in xs] == [1, 2, 4]
    ys = assert_as_alone(
        lambda *xs: (torch._foreach_add_(list(xs), 1.0), list(xs))[1], *LISTS["of all kinds"]
    )
    assert [num_cohorts(y) for y in ys] == [1, 2, 4]


def test_foreach_of_uneven_tensors() -> None:
    uneven = each(torch.ones(3), torch.ones(0), torch.ones(2), torch.ones(1))
    assert_as_alone(lambda x, y: torch._foreach_mul([x, y], 2.0), uneven, shared(3))


OPTIMIZERS: dict[str, Any] = {
    "SGD": lambda ps, **k: torch.optim.SGD(ps, lr=0.1, momentum=0.9, weight_decay=0.01, **k),
    "Adam": lambda ps, **k: torch.optim.Adam(ps, lr=0.1, amsgrad=True, **k),
    "AdamW": lambda ps, **k: torch.optim.AdamW(ps, lr=0.1, **k),
    "Adagrad": lambda ps, **k: torch.optim.Adagrad(ps, lr=0.1, **k),
}
FOREACH_ONLY: dict[str, Any] = {
    "RMSprop": lambda ps, **k: torch.optim.RMSprop(ps, lr=0.1, momentum=0.5, **k),
    "Adadelta": torch.optim.Adadelta,
    "Adamax": torch.optim.Adamax,
    "NAdam": torch.optim.NAdam,
    "RAdam": torch.optim.RAdam,
    "Rprop": torch.optim.Rprop,
    "ASGD": torch.optim.ASGD,
}
VARIANTS = [
    (name, make, keywords)
    for name, make in (OPTIMIZERS | FOREACH_ONLY).items()
    for keywords in (
        {"foreach": False},
        {"foreach": True},
        *([{"fused": True}] if name in OPTIMIZERS else []),
    )
]


@pytest.mark.parametrize(
    ("make", "keywords"),
    [(make, keywords) for _, make, keywords in VARIANTS],
    ids=[f"{name}-{next(iter(k))}={next(iter(k.values()))}" for name, _, k in VARIANTS],
)
def test_optimizers(make: Any, keywords: dict[str, bool]) -> None:
    def program(*tensors: Tensor) -> Any:
        parameters = [torch.nn.Parameter(t) for t in tensors[:3]]
        optimizer = make(parameters, **keywords)
        for scale in (1.0, -0.5):
            for parameter, gradient in zip(parameters, tensors[3:], strict=True):
                parameter.grad = gradient * scale
            optimizer.step()
        return [p.detach() for p in parameters]

    weights = (shared(3), mixed(2, 2, seed=1), shared(4, seed=2))
    gradients = (shared(3, seed=3), shared(2, 2, seed=4), distinct(4, seed=5))
    result = assert_as_alone(program, *weights, *gradients)
    assert [num_cohorts(p) for p in result] == [1, 2, 4]


def test_clip_grad_norm() -> None:
    def program(*tensors: Tensor) -> Any:
        parameters = [torch.nn.Parameter(t) for t in tensors[:2]]
        for parameter, gradient in zip(parameters, tensors[2:], strict=True):
            parameter.grad = gradient
        norm = torch.nn.utils.clip_grad_norm_(parameters, 0.5)
        torch.nn.utils.clip_grad_value_(parameters, 0.1)
        return norm, [p.grad for p in parameters]

    for foreach in (shared, mixed, distinct):
        assert_as_alone(program, shared(3), shared(4), foreach(3, seed=1), shared(4, seed=2))


def test_grad_scaler() -> None:
    def program(x: Tensor) -> Any:
        parameter = torch.nn.Parameter(x)
        optimizer = torch.optim.SGD([parameter], lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        scaler.scale((parameter * 2).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        return parameter.detach()

    assert_as_alone(program, shared(3))
    assert_as_alone(program, distinct(3))


def test_learning_rate_as_a_tensor() -> None:
    def program(x: Tensor, g: Tensor, lr: Tensor) -> Any:
        parameter = torch.nn.Parameter(x)
        parameter.grad = g
        torch.optim.Adam([parameter], lr=lr, foreach=False, capturable=False).step()
        return parameter.detach()

    assert_as_alone(program, shared(3), distinct(3), each(*[torch.tensor(0.1)] * 4))
