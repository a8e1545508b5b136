"""torch.func, torch.autograd.functional and forward-mode AD, as each rank alone computes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polyrank
import pytest
import torch
from oracle.as_alone import Argument, assert_as_alone, distinct, mixed, shared
from torch import Tensor, func, nn
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

Program = Callable[[Tensor, Tensor, Tensor], Any]

# x, its tangent t, and a weight w.
OPERANDS = {
    "distinct": (distinct(4, 3), distinct(4, 3, seed=1), shared(3, 5, seed=2)),
    "mixed": (mixed(4, 3), shared(4, 3, seed=1), distinct(3, 5, seed=2)),
    "shared": (shared(4, 3), shared(4, 3, seed=1), shared(3, 5, seed=2)),
}


def features(x: Tensor, w: Tensor) -> Tensor:
    return torch.tanh(x @ w)


def loss(x: Tensor, w: Tensor) -> Tensor:
    return features(x, w).pow(2).sum()


def mlp(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    with torch.random.fork_rng(devices=()):
        module = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    return func.functional_call(module, parameters, (x,)).sum()


def parameters(w: Tensor) -> dict[str, Tensor]:
    return {"0.weight": w.t(), "0.bias": w[0], "2.weight": w[:2].clone(), "2.bias": w[0, :2]}


def dual_tangent(function: Callable[[Tensor], Tensor], x: Tensor, t: Tensor) -> Tensor:
    with forward_ad.dual_level():
        result = function(forward_ad.make_dual(x.clone(), t.clone()))
        return forward_ad.unpack_dual(result).tangent


TRANSFORMS: dict[str, Program] = {
    "grad": lambda x, t, w: func.grad(loss, argnums=(0, 1))(x, w),
    "grad_and_value": lambda x, t, w: func.grad_and_value(loss)(x, w),
    "grad of grad": lambda x, t, w: func.grad(lambda z: func.grad(loss)(z, w).pow(2).sum())(x),
    "vmap": lambda x, t, w: func.vmap(torch.dot)(x, t),
    "vmap, a captured tensor": lambda x, t, w: func.vmap(lambda row: row @ w)(x),
    "vmap in_dims": lambda x, t, w: func.vmap(torch.sin, in_dims=1, out_dims=1)(x),
    "vmap chunk_size": lambda x, t, w: func.vmap(torch.sin, chunk_size=2)(x),
    "vmap of grad": lambda x, t, w: func.vmap(func.grad(loss), (0, None))(x, w),
    "vmap, different noise": lambda x, t, w: func.vmap(
        lambda row: row + torch.rand(3), randomness="different"
    )(x),
    "vmap, same noise": lambda x, t, w: func.vmap(
        lambda row: row + torch.rand(3), randomness="same"
    )(x),
    "vjp": lambda x, t, w: func.vjp(features, x, w)[1](torch.ones(4, 5)),
    "jvp": lambda x, t, w: func.jvp(lambda z: features(z, w), (x,), (t,)),
    "jacrev": lambda x, t, w: func.jacrev(features, argnums=1)(x, w),
    "jacfwd": lambda x, t, w: func.jacfwd(features)(x, w),
    "hessian": lambda x, t, w: func.hessian(loss)(x, w),
    "functionalize": lambda x, t, w: func.functionalize(lambda z: z.clone().add_(t))(x),
    "functional_call": lambda x, t, w: mlp(parameters(w), x),
    "grad of functional_call": lambda x, t, w: func.grad(mlp)(parameters(w), x),
    "gradient of each sample": lambda x, t, w: func.vmap(
        func.grad(mlp), (None, 0), randomness="same"
    )(parameters(w), x),
    "autograd.functional.jacobian": lambda x, t, w: torch.autograd.functional.jacobian(
        features, (x, w)
    ),
    "autograd.functional.jvp": lambda x, t, w: torch.autograd.functional.jvp(
        lambda z: features(z, w), x, t
    ),
    "autograd.functional.hvp": lambda x, t, w: torch.autograd.functional.hvp(
        lambda z: loss(z, w), x, t
    ),
    "forward AD": lambda x, t, w: dual_tangent(lambda z: features(z, w), x, t),
    "forward AD, a view": lambda x, t, w: dual_tangent(lambda z: z.t()[1:].sum(0), x, t),
    "forward AD, in place": lambda x, t, w: dual_tangent(lambda z: z.mul_(2).relu_(), x, t),
    "forward AD, in place of a view": lambda x, t, w: dual_tangent(
        lambda z: z[1].mul_(w[0, 0])._base, x, t
    ),
}


@pytest.mark.parametrize("operands", OPERANDS.values(), ids=list(OPERANDS))
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=list(TRANSFORMS))
def test_transform(transform: Program, operands: tuple[Argument, ...]) -> None:
    assert_as_alone(transform, *operands)


def test_tracing_is_refused(lockstep: polyrank.LocalTensorMode) -> None:
    x = polyrank.rank_map(lambda rank: torch.full((3,), float(rank)))
    with pytest.raises(polyrank.UnsupportedOpError, match="LocalTensors can't be traced"):
        func.linearize(torch.sin, x)
    with pytest.raises(polyrank.UnsupportedOpError, match="LocalTensors can't be traced"):
        make_fx(torch.sin)(x)
