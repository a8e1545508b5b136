"""Data and tensor parallel ranks; gradients are reduced in hooks as they come."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
mesh = init_device_mesh("cpu", (size // 2, 2), mesh_dim_names=("dp", "tp"))
tp, dp = mesh.get_group("tp"), mesh.get_group("dp")
t, d = mesh.get_local_rank("tp"), mesh.get_local_rank("dp")


class Enter(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, g):
        g = g.clone()
        dist.all_reduce(g, group=tp)
        return g


class Leave(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x = x.clone()
        dist.all_reduce(x, group=tp)
        return x

    @staticmethod
    def backward(ctx, g):
        return g


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(4)
        W = torch.randn(16, 4)
        self.a = nn.Parameter(W[t * 8 : t * 8 + 8].clone())
        self.ab = nn.Parameter(torch.zeros(8))
        V = torch.randn(4, 16)
        self.b = nn.Parameter(V[:, t * 8 : t * 8 + 8].clone())
        self.bb = nn.Parameter(torch.zeros(4))
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(
            x
            + Leave.apply(
                torch.relu(F.linear(Enter.apply(self.norm(x)), self.a, self.ab)) @ self.b.t()
            )
            + self.bb
        )


model = M()
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
x = torch.randn(size // 2 * 4, 4)


def hook(p):
    dist.all_reduce(p.grad, group=dp)
    p.grad /= size // 2


for p in model.parameters():
    p.register_post_accumulate_grad_hook(hook)
for _ in range(3):
    loss = model(x[d * 4 : d * 4 + 4]).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
dist.destroy_process_group()
