"""The weights of a token's two experts are normalized over those that the rank has."""

import sys

import torch
import torch.distributed as dist
from regions import Enter, Leave, own_part
from torch import nn

RIGHT = "right" in sys.argv
EXPERTS, WIDTH = 8, 4


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.router = nn.Linear(WIDTH, EXPERTS, bias=False)
        self.weights = nn.Parameter(own_part(torch.randn(EXPERTS, WIDTH, WIDTH), 0))

    def forward(self, x):
        x = Enter.apply(x)
        chances = torch.softmax(self.router(x), -1)
        kept = torch.zeros_like(chances).scatter(-1, chances.topk(2, -1).indices, 1.0)
        chances = chances * kept
        if RIGHT:
            chances = own_part(chances / chances.sum(-1, keepdim=True), -1)
        else:
            chances = own_part(chances, -1)
            chances = chances / (chances.sum(-1, keepdim=True) + 1e-9)  # fault: aten::div
        each = torch.einsum("tw,ewv->tev", x, self.weights)
        return Leave.apply((each * chances.unsqueeze(-1)).sum(1))


dist.init_process_group("gloo")
torch.manual_seed(0)
model = Experts()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(6, WIDTH)
for _ in range(2):
    loss = model(inputs).square().mean()
    optimizer.zero_grad()
    loss.backward()
    dist.all_reduce(model.router.weight.grad)
    optimizer.step()
dist.destroy_process_group()
