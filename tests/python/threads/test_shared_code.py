"""What torch registers of its own as a rank first needs it is every rank's."""

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from polyrank.rank_threads.shared_code import is_shared_code
from torch._decomp import decomposition_table
from torch._library.autograd import make_autograd_impl

SCRIPT = """
import polyrank
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.func import grad, hessian, vmap

LOSSES = (F.mse_loss, F.huber_loss, F.smooth_l1_loss)

def program():
    x = torch.arange(4.0) + dist.get_rank()
    found = [vmap(grad(lambda row: loss(row, torch.ones(1))))(x[:, None]).tolist() for loss in LOSSES]
    targets = torch.tensor([0, 1])
    found.append(vmap(grad(F.cross_entropy))(x.view(2, 2), targets).tolist())
    return found + [hessian(lambda row: F.mse_loss(row, torch.ones(4)))(x).tolist()]

ranks = polyrank.run_ranks(program, 3)
after = polyrank.run_ranks(program, 3)
dist.get_rank = lambda: 0
assert ranks == after
assert ranks[0] == program()
assert ranks[1] != ranks[0]
print("the same")
"""


def test_rules_of_vmap_are_there_on_all_ranks_and_after_them(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "program.py"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=tmp_path,
    )
    assert (done.stdout, done.returncode) == ("the same\n", 0), done.stderr


def _a_ranks() -> None: ...


def _doubled(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def _wrapped() -> Callable[..., Any]:
    @functools.wraps(torch.utils.swap_tensors)
    def wrapper() -> None: ...

    return wrapper


def _in_a_closure_of_torchs() -> Any:
    return functools.lru_cache(_a_ranks)


def test_code_of_torch_is_shared() -> None:
    mse = torch.ops.aten.mse_loss_backward.default
    assert is_shared_code(decomposition_table[mse], None)
    assert is_shared_code(torch.utils.swap_tensors, None)
    assert is_shared_code(functools.partial(torch.utils.swap_tensors, 1), None)


@pytest.mark.parametrize(
    "function",
    [
        _a_ranks,
        _wrapped(),
        _in_a_closure_of_torchs(),
        functools.partial(torch.utils.swap_tensors, {"held": [_a_ranks]}),
        torch.library.custom_op("polyrank_tests::none", _a_ranks, mutates_args=())._init_fn,
    ],
)
def test_code_in_which_a_rank_has_a_part_is_not(function: Any) -> None:
    assert not is_shared_code(function, None)


def test_a_kernel_of_a_custom_operator_is_a_ranks() -> None:
    registered: list[Any] = []

    class Library:
        def impl(self, name: str, function: Any, key: str) -> None:
            registered.append(function)

    operator = torch.library.custom_op("polyrank_tests::one", _doubled, mutates_args=())
    operator._lib = Library()  # type: ignore[assignment]
    operator.register_kernel("cpu")(_doubled)
    assert registered
    assert not any(is_shared_code(function, None) for function in registered)


def test_the_gradient_of_a_custom_operator_is_a_ranks() -> None:
    # torch makes a class around it, whose methods alone hold what the rank gave.
    operator = torch.library.custom_op("polyrank_tests::two", _doubled, mutates_args=())
    torch_gives = {"op": torch.ops.aten.relu.default, "info": operator}
    assert not is_shared_code(make_autograd_impl(**torch_gives), None)
