"""Every operator that the dispatcher knows has our kernel, or stands on a list with a reason."""

from __future__ import annotations

import polyrank
import pytest
import torch

# Imported for the operators that they register.
import torch.distributed._functional_collectives
import torch.distributed._symmetric_memory
import torch.distributed.tensor

# Operators whose kernel at the Python key is another's, which must stay.
KERNELS_OF_OTHERS: dict[str, str] = {
    "export::access_subclass_inner_tensor": "torch.export's, which traces subclasses with it",
    "polyrank::_fallbacks": "has no kernel by design: tells PyTorch's fallback for the key",
}


@pytest.fixture(scope="module")
def operators() -> list[str]:
    """The names of all operators that have a schema."""
    with polyrank.LocalTensorMode(2):
        torch.ones(1)
    return [name for name in torch._C._dispatch_get_all_op_names() if has_schema(name)]


def has_schema(name: str) -> bool:
    """Whether the operator can be called; kernels can be registered ahead of their schema."""
    base, _, overload = name.partition(".")
    try:
        torch._C._dispatch_find_schema_or_throw(base, overload)
    except RuntimeError:
        return False
    return True


def python_kernel_of(name: str) -> str | None:
    """Who registered the kernel at the Python key: "polyrank", or "registered at FILE:LINE"."""
    for line in torch._C._dispatch_dump(name).splitlines():
        if line.startswith("Python: "):
            return line.removeprefix("Python: ").partition(" :: ")[0]
    return None


def test_the_dispatcher_lists_its_operators(operators: list[str]) -> None:
    assert len(operators) > 3000


def test_each_operator_has_our_kernel(operators: list[str]) -> None:
    not_ours = {
        name: kernel for name in operators if (kernel := python_kernel_of(name)) != "polyrank"
    }
    unexpected = {name: not_ours[name] for name in not_ours.keys() - KERNELS_OF_OTHERS.keys()}
    assert not unexpected
    covered_now = KERNELS_OF_OTHERS.keys() - not_ours.keys()
    assert not covered_now, "these have our kernel now, take them off the list"


def test_an_operator_registered_later_is_covered_with_the_next_call() -> None:
    with torch.library._scoped_library("polyrank_coverage", "FRAGMENT") as library:
        library.define("later(Tensor x) -> Tensor")
        with polyrank.LocalTensorMode(2):
            torch.ones(1)
        assert python_kernel_of("polyrank_coverage::later") == "polyrank"
    assert not has_schema("polyrank_coverage::later")


def test_an_operator_with_a_python_kernel_of_its_own_keeps_it() -> None:
    with torch.library._scoped_library("polyrank_coverage", "FRAGMENT") as library:
        library.define("own(Tensor x) -> Tensor")
        library.impl("own", lambda x: x, "Python")
        with polyrank.LocalTensorMode(2):
            torch.ones(1)
        kernel = python_kernel_of("polyrank_coverage::own")
        assert kernel is not None
        assert kernel.startswith("registered at ")
