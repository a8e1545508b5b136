"""What PyTorch makes the first time that it is used, made once for all ranks.

A training step imports some hundred modules and fills caches; what the launcher has of that before
it forks, no rank needs to have of its own.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable

import torch

__all__ = ["make_warm", "warm"]

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


_is_warm = False  # this process, or the one that has forked it


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
