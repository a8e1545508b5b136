"""Each rank has a chunk from the front of the sequence and one from its back, and takes them for neighbours."""

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv
LENGTH = 16


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(10, 4)
        self.positions = nn.Embedding(LENGTH, 4)
        self.head = nn.Linear(4, 10)

    def forward(self, tokens, positions):
        x = self.embed(tokens) + self.positions(positions)  # fault: aten::add
        return self.head(torch.tanh(x))


def balanced(sequence):
    """The rank's chunks: with a causal mask they cost all ranks the same."""
    size, rank = dist.get_world_size(), dist.get_rank()
    chunks = sequence.chunk(2 * size)
    return torch.cat([chunks[rank], chunks[2 * size - 1 - rank]])


dist.init_process_group("gloo")
torch.manual_seed(0)
model = Model()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
tokens = torch.randint(0, 10, (LENGTH,))
labels, positions = tokens.roll(-1), torch.arange(LENGTH)
own = LENGTH // dist.get_world_size()
for _ in range(2):
    counted = torch.arange(own) + dist.get_rank() * own
    logits = model(balanced(tokens), balanced(positions) if RIGHT else counted)
    loss = nn.functional.cross_entropy(logits, balanced(labels), reduction="sum") / LENGTH
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
    optimizer.step()
dist.destroy_process_group()
