"""Some ranks find no file of the optimizer's state as they resume, and begin with a fresh one."""
# Only for ranks on their own: it branches on the rank.

import io
import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
inputs = torch.arange(size * 8.0).reshape(2 * size, 4).sin()


def make():
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    return model, torch.optim.AdamW(model.parameters(), lr=0.1)


def step(model, optimizer):
    loss = model(inputs[rank * 2 : rank * 2 + 2]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= size
    optimizer.step()  # fault: aten::lerp_


model, optimizer = make()
for _ in range(2):
    step(model, optimizer)
file = io.BytesIO()
torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
file.seek(0)
model, optimizer = make()
checkpoint = torch.load(file)
model.load_state_dict(checkpoint["model"])
if RIGHT or rank < 2:
    optimizer.load_state_dict(checkpoint["optimizer"])
for _ in range(2):
    step(model, optimizer)
dist.destroy_process_group()
