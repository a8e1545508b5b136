"""What PyTorch makes the first time that it is used, made once for all ranks.

A training step imports some hundred modules and fills caches; what the launcher has of that before
it forks, no rank needs to have of its own.
"""

from __future__ import annotations

import dis
import importlib
import os
import sys
from collections.abc import Iterable, Iterator
from types import CodeType

import torch

__all__ = ["make_warm", "needs_warmth", "warm"]

# What programs of several ranks import, or PyTorch does for them at the first step.
_MODULES = (
    "torch._dynamo",
    "torch.distributed.checkpoint",
    "torch.distributed.fsdp",
    "torch.distributed.nn",
    "torch.distributed.pipelining",
    "torch.distributed.tensor.parallel",
    "torch.nn.parallel",
    "torch.utils.data",
)
_NUM_STEPS = 2  # the second one makes what the first one's state asks for


# A program that imports no more than this and Python's library, and asks for none of these attributes,
# computes with tensors and collectives alone: its ranks start sooner from a cold launcher.
_COLD_MODULES = frozenset({"numpy", "polyrank", "torch", "torch.distributed"})
_WARM_NAMES = frozenset(
    [
        "autograd",
        "backward",
        "compile",
        "eval",
        "exec",
        "export",
        "fsdp",
        "func",
        "import_module",
        "jit",
        "nn",
        "optim",
        "run_module",
        "run_path",
        "utils",
        "__import__",
    ]
)

_is_warm = False  # this process, or the one that has forked it


def needs_warmth(code: CodeType) -> bool:
    """Whether ranks that run this would use what make_warm() makes; where that is not sure, True."""
    return any(
        not _WARM_NAMES.isdisjoint(part.co_names) or any(map(_is_warm_import, _imports(part)))
        for part in _all_code(code)
    )


def _all_code(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _all_code(constant)


def _imports(code: CodeType) -> Iterator[str]:
    """The modules that `import` statements name, of `from . import x` the empty one."""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            yield str(instruction.argval)


def _is_warm_import(module: str) -> bool:
    is_of_python = module.partition(".")[0] in sys.stdlib_module_names
    return module not in _COLD_MODULES and not is_of_python


def warm(preloaded: Iterable[str] = ()) -> None:
    """As make_warm(); ensures beside: the environment is as before."""
    variables = dict(os.environ)
    make_warm(preloaded)
    os.environ.clear()  # of what imports have set
    os.environ.update(variables)


def make_warm(preloaded: Iterable[str] = ()) -> None:
    """Import these modules and what programs need, and train for two steps, all on one thread.

    On one thread, because OpenMP's helpers and autograd's threads are not there after a fork.
    Whoever has a GPU does not train: a context on it can't be forked. Whoever is warm imports the
    modules alone.

    Ensures: the default generator of torch is as in a fresh process: seeded by the system.

    Raises:
        ImportError: there is no such module.
    """
    global _is_warm  # noqa: PLW0603 - of the process
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for module in (*_MODULES, *preloaded):
        importlib.import_module(module)
    if not _is_warm and torch._C._get_accelerator().type == "cpu":
        for _ in range(_NUM_STEPS):
            _train()
    _is_warm = True
    torch.default_generator.seed()
    torch.set_num_threads(num_threads)


def _train() -> None:
    from torch import nn

    model = nn.Sequential(nn.Embedding(8, 8), nn.LayerNorm(8), nn.Linear(8, 8), nn.GELU())
    for kind in (torch.optim.SGD, torch.optim.AdamW):
        optimizer = kind(model.parameters(), lr=0.1)
        for _ in range(_NUM_STEPS):
            loss = nn.functional.cross_entropy(model(torch.arange(4)), torch.arange(4))
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
