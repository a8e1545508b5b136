"""Whatever a program does, what its GPU holds is what its live storages add up to.

Storages are counted by a dispatch mode, which sees every result of every operator and keeps a weak
reference to its storage: it knows nothing of the allocator's model.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any

import polyrank
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

BLOCK = 512
WIDTH = 24  # of every tensor's last dimension: all of it fits together


class LiveStorages(TorchDispatchMode):
    """Keeps a weak reference to each storage on a GPU that an operator gave."""

    def __init__(self) -> None:
        super().__init__()
        self._references: dict[int, StorageWeakRef] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        for result in pytree.tree_leaves(results):
            if isinstance(result, torch.Tensor) and result.is_cuda:
                reference = StorageWeakRef(result.untyped_storage())
                self._references[reference.cdata] = reference
        return results

    def num_bytes(self) -> int:
        """What the storages that live take, in blocks."""
        self._references = {key: one for key, one in self._references.items() if not one.expired()}
        sizes = []
        for reference in self._references.values():
            storage = torch.UntypedStorage._new_with_weak_ptr(reference.cdata)
            sizes.append(storage.nbytes())
        return sum(-(-size // BLOCK) * BLOCK for size in sizes)


class DeliberateError(Exception):
    """Ends a step in its middle."""


class Program:
    """A model, an optimizer and tensors that are held; each method is something to do with them."""

    def __init__(self, draw: Callable[[int], int]) -> None:
        self.draw = draw
        with torch.device("cuda"):
            self.model = nn.Sequential(nn.Linear(WIDTH, WIDTH), self.layer(), self.layer())
        kinds = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)
        self.optimizer = kinds[draw(3)](self.model.parameters(), lr=0.1)
        self.held: list[torch.Tensor] = []
        self.handles: list[Any] = []

    def layer(self) -> nn.Module:
        kinds: list[Callable[[], nn.Module]] = [
            lambda: nn.Linear(WIDTH, WIDTH),
            lambda: nn.LayerNorm(WIDTH),
            lambda: nn.GELU(),
            lambda: nn.Dropout(0.5),
            lambda: nn.ReLU(inplace=True),
            lambda: nn.Sequential(
                nn.Linear(WIDTH, 3 * WIDTH), nn.SiLU(), nn.Linear(3 * WIDTH, WIDTH)
            ),
            lambda: nn.TransformerEncoderLayer(WIDTH, 2, 2 * WIDTH, batch_first=True),
        ]
        return kinds[self.draw(len(kinds))]()

    def input(self) -> torch.Tensor:
        return torch.randn(1 + self.draw(4), 1 + self.draw(40), WIDTH, device="cuda")

    def hold(self) -> None:
        self.held.append(self.input())

    def drop(self) -> None:
        if self.held:
            self.held.pop(self.draw(len(self.held)))

    def view(self) -> None:
        if self.held:
            one = self.held[self.draw(len(self.held))]
            self.held.append(
                [one[0], one.transpose(0, -1), one.reshape(-1), one.detach()][self.draw(4)]
            )

    def change_in_place(self) -> None:
        if self.held:
            one = self.held[self.draw(len(self.held))].detach()
            [one.mul_, one.add_][self.draw(2)](2)

    def combine(self) -> None:
        if self.held:
            one = self.held[self.draw(len(self.held))].detach().flatten()
            self.held.append(
                [one + 1, one.sort()[0], torch.cat([one, one]), one.cumsum(0)][self.draw(4)]
            )

    def resize(self) -> None:
        if self.held:
            storage = self.held.pop(self.draw(len(self.held))).untyped_storage()
            storage.resize_(self.draw(3) * 1000)
            self.held.append(torch.empty(0, device="cuda").set_(storage))

    def forward(self) -> None:
        self.held.append(self.model(self.input()))

    def train(self) -> None:
        x = self.input()
        if self.draw(2):
            x = checkpoint(self.model, x.requires_grad_(), use_reentrant=bool(self.draw(2)))
        else:
            x = self.model(x)
        loss = x.square().mean()
        loss.backward(retain_graph=bool(self.draw(2)))
        if self.draw(2):
            self.optimizer.step()
        if self.draw(2):
            self.optimizer.zero_grad(set_to_none=bool(self.draw(2)))
        self.held.append(loss)

    def hook(self) -> None:
        """Keeps what it sees, or ends the step."""
        raises = bool(self.draw(2))

        def on_forward(module: nn.Module, args: Any, output: torch.Tensor) -> None:
            if raises:
                raise DeliberateError
            self.held.append(output.detach()[..., :3])

        def on_backward(module: nn.Module, inputs: Any, outputs: Any) -> None:
            if raises:
                raise DeliberateError
            self.held.append(outputs[0])

        layer = self.model[self.draw(3)]
        if self.draw(2) or any(isinstance(part, nn.ReLU) for part in self.model.modules()):
            self.handles.append(layer.register_forward_hook(on_forward))
        else:
            self.handles.append(layer.register_full_backward_hook(on_backward))

    def unhook(self) -> None:
        while self.handles:
            self.handles.pop().remove()


ACTIONS = (
    Program.hold,
    Program.drop,
    Program.view,
    Program.change_in_place,
    Program.combine,
    Program.resize,
    Program.forward,
    Program.train,
    Program.train,
    Program.hook,
    Program.unhook,
)


@pytest.fixture(autouse=True, scope="module")
def gpus() -> Iterator[None]:
    with polyrank.forecast():
        gc.collect()
        gc.freeze()  # what is there already is not gone through after each action
        yield
        gc.unfreeze()


@settings(max_examples=30, deadline=None, phases=(Phase.generate,))
@given(data=st.data())
def test_live_bytes_are_those_of_live_storages(data: st.DataObject) -> None:
    def draw(count: int) -> int:
        return data.draw(st.integers(0, count - 1))

    gc.collect()
    before = torch.cuda.memory_allocated()
    with LiveStorages() as live:
        program = Program(draw)
        for action in data.draw(st.lists(st.sampled_from(ACTIONS), min_size=3, max_size=12)):
            # A graph that was run already, or a value that was written over.
            with contextlib.suppress(DeliberateError, RuntimeError, IndexError):
                action(program)
            gc.collect()
            assert torch.cuda.memory_allocated() - before == live.num_bytes()
        # Hooks that hold what autograd's nodes hold in turn would never be freed, on a GPU too.
        program.held.clear()
        del program
        gc.collect()
        assert torch.cuda.memory_allocated() == before
        assert live.num_bytes() == 0
