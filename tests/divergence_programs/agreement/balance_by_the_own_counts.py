"""A router's balancing bias is updated by the tokens that each rank counted, and never reduced."""

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv


class Router(nn.Module):
    """Chooses an expert for each token, with a bias against those that are chosen often."""

    bias: torch.Tensor
    counts: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(4, 4, bias=False)
        self.register_buffer("bias", torch.zeros(4))
        self.register_buffer("counts", torch.zeros(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.gate(x).sigmoid()
        chosen = (scores + self.bias).argmax(1)
        with torch.no_grad():
            self.counts += torch.nn.functional.one_hot(chosen, 4).sum(0)
        return scores.gather(1, chosen[:, None])

    def balance(self) -> None:
        """Before each optimizer step."""
        with torch.no_grad():
            if RIGHT:
                dist.all_reduce(self.counts)
            self.bias += 0.1 * (self.counts.mean() - self.counts).sign()  # fault: aten::add_
            self.counts.zero_()


dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
model = Router()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(8, 4)
for _ in range(3):
    loss = model(inputs[rank * 2 : rank * 2 + 2]).mean()
    optimizer.zero_grad()
    loss.backward()
    dist.all_reduce(model.gate.weight.grad)
    model.balance()
    optimizer.step()
dist.destroy_process_group()
