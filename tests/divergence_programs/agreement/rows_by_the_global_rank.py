"""On a mesh of data and tensor parallel ranks, each takes its rows by its number among all of them."""

import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

RIGHT = "right" in sys.argv


class Leave(torch.autograd.Function):
    """The value is the sum of the tensor parallel ranks'."""

    @staticmethod
    def forward(ctx, x):
        x = x.clone()
        dist.all_reduce(x, group=mesh.get_group("tensor"))
        return x

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        part = mesh.get_local_rank("tensor")
        self.columns = nn.Parameter(torch.randn(8, 4)[part * 4 : part * 4 + 4].clone())
        self.rows = nn.Parameter(torch.randn(4, 8)[:, part * 4 : part * 4 + 4].clone())
        self.norm = nn.LayerNorm(4)

    def forward(self, x):
        return self.norm(Leave.apply(torch.relu(x @ self.columns.t()) @ self.rows.t()) + x)


dist.init_process_group("gloo")
mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
torch.manual_seed(0)
model = Block()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs, targets = torch.randn(8, 4), torch.randn(8, 4)
number = mesh.get_local_rank("data") if RIGHT else dist.get_rank()
for _ in range(2):
    rows = inputs[number * 2 : number * 2 + 2]  # fault: aten::slice
    loss = (model(rows) - targets[number * 2 : number * 2 + 2]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad, group=mesh.get_group("data"))
        parameter.grad /= 2
    optimizer.step()
dist.destroy_process_group()
