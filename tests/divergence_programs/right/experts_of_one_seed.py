"""Experts that were drawn alike, each rank its own, get their tokens by all-to-all."""

import torch
import torch.distributed as dist
from torch import nn

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)


class A2A(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        out = torch.empty_like(x)
        dist.all_to_all_single(out, x.contiguous())
        return out

    @staticmethod
    def backward(ctx, g):
        out = torch.empty_like(g)
        dist.all_to_all_single(out, g.contiguous())
        return out


class MoE(nn.Module):
    def __init__(self):
        super().__init__()
        self.pre = nn.Linear(4, 4)
        self.expert = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))
        self.norm = nn.LayerNorm(4)

    def forward(self, x):
        x = self.pre(x)
        y = A2A.apply(self.expert(A2A.apply(x)))
        return self.norm(x + y)


model = MoE()
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
x = torch.randn(size * 8, 4)
for _ in range(3):
    loss = model(x[rank * 8 : (rank + 1) * 8]).pow(3).mean()
    optimizer.zero_grad()
    loss.backward()
    for n, p in model.named_parameters():
        if "expert" not in n:
            dist.all_reduce(p.grad)
            p.grad /= size
        else:
            p.grad /= size
    optimizer.step()
dist.destroy_process_group()
