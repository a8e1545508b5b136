"""A loss in chunks keeps the gradients of its input, which are parts of a sum, as a DTensor that all have whole."""

import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

RIGHT = "right" in sys.argv
CHUNKS = 2


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.head = nn.Linear(4, 8, bias=False)


def backward_in_chunks(head, hidden):
    gradients = []
    for chunk in hidden.detach().chunk(CHUNKS):
        chunk.requires_grad_()
        (head(chunk).square().sum() / hidden.numel()).backward()
        gradient = chunk.grad
        if RIGHT:
            gradient = gradient.redistribute(placements=[Replicate()])
        gradients.append(gradient.to_local())
    whole = DTensor.from_local(torch.cat(gradients), mesh, [Replicate()])
    hidden.backward(whole)  # fault: aten::detach


dist.init_process_group("gloo")
mesh = init_device_mesh("cpu", (dist.get_world_size(),))
torch.manual_seed(0)
model = Model()
parallelize_module(model.head, mesh, ColwiseParallel(use_local_output=False))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, foreach=False)
inputs = torch.randn(6, 4)
for _ in range(2):
    optimizer.zero_grad()
    hidden = DTensor.from_local(model.body(inputs), mesh, [Replicate()])
    backward_in_chunks(model.head, hidden)
    optimizer.step()
dist.destroy_process_group()
