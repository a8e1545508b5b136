"""The sequence is cut between ranks, and each shifts the labels within its own part."""

import sys

import torch
import torch.distributed as dist
from regions import own_part
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
torch.manual_seed(0)
size = dist.get_world_size()
model = nn.Sequential(nn.Embedding(16, 8), nn.Tanh(), nn.Linear(8, 16))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
tokens = torch.randint(0, 16, (16,))
for _ in range(2):
    labels = own_part(tokens.roll(-1), 0) if RIGHT else own_part(tokens, 0).roll(-1)
    logits = model(own_part(tokens, 0))
    loss = nn.functional.cross_entropy(logits, labels)  # fault: aten::nll_loss_forward
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= size
    optimizer.step()
dist.destroy_process_group()
