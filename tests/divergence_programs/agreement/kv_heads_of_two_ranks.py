"""Two ranks hold the keys and values that their queries share; nobody adds up the gradients of both."""

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv
WIDTH, HEAD = 8, 4


class Leave(torch.autograd.Function):
    """The value is the sum of all ranks'."""

    @staticmethod
    def forward(ctx, x):
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def part(whole, number):
    return nn.Parameter(whole[number * HEAD : (number + 1) * HEAD].clone())


class Attention(nn.Module):
    """Four query heads and two of keys and values: rank 0 and 1 share the first, rank 2 and 3 the second."""

    def __init__(self):
        super().__init__()
        rank = dist.get_rank()
        self.q = part(torch.randn(4 * HEAD, WIDTH), rank)
        self.k = part(torch.randn(2 * HEAD, WIDTH), rank // 2)
        self.v = part(torch.randn(2 * HEAD, WIDTH), rank // 2)
        self.out = part(torch.randn(4 * HEAD, WIDTH), rank)

    def forward(self, x):
        q, k, v = (x @ weight.t() for weight in (self.q, self.k, self.v))
        scores = q @ k.t() / HEAD**0.5  # fault: aten::mm
        mixed = torch.softmax(scores, -1) @ v
        return Leave.apply(mixed @ self.out)


dist.init_process_group("gloo")
pair, _ = dist.new_subgroups(2)
torch.manual_seed(0)
model = Attention()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(6, WIDTH)
for _ in range(2):
    loss = model(inputs).square().mean()
    optimizer.zero_grad()
    loss.backward()
    if RIGHT:
        for parameter in (model.k, model.v):
            dist.all_reduce(parameter.grad, group=pair)
    optimizer.step()
dist.destroy_process_group()
