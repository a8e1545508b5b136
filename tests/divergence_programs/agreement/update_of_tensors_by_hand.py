"""A loop without modules and optimizers: gradients of one of two layers are not reduced."""

import sys

import torch
import torch.distributed as dist

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
torch.manual_seed(0)
first = torch.randn(4, 8, requires_grad=True)
second = torch.randn(8, 1, requires_grad=True)
inputs = torch.randn(8, 4)
rank, size = dist.get_rank(), dist.get_world_size()
mine = inputs[rank * 2 : rank * 2 + 2]
for _ in range(2):
    loss = (torch.relu(mine @ first) @ second).square().mean()
    gradients = torch.autograd.grad(loss, (first, second))
    for gradient in gradients if RIGHT else gradients[:1]:
        dist.all_reduce(gradient)
    with torch.no_grad():
        for weight, gradient in zip((first, second), gradients, strict=True):
            weight.sub_(0.1 * gradient / size)  # fault: aten::sub_
dist.destroy_process_group()
