"""A norm runs on each rank's part of the sequence, and its gradient is not reduced over the group."""

import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.nn.functional import all_gather, reduce_scatter

RIGHT = "right" in sys.argv


class Block(nn.Module):
    """A norm on a part of the sequence, then two layers, each rank with its columns and rows."""

    def __init__(self) -> None:
        super().__init__()
        rank = dist.get_rank()
        columns, rows = torch.randn(16, 8), torch.randn(8, 16)
        self.norm = nn.LayerNorm(8)
        self.columns = nn.Parameter(columns[rank * 4 : rank * 4 + 4].clone())
        self.rows = nn.Parameter(rows[:, rank * 4 : rank * 4 + 4].clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        whole = torch.cat(all_gather(self.norm(x)))
        hidden = torch.relu(whole @ self.columns.t()) @ self.rows.t()
        pieces = [piece.contiguous() for piece in hidden.chunk(dist.get_world_size())]
        return x + reduce_scatter(torch.empty_like(pieces[0]), pieces)


dist.init_process_group("gloo")
torch.manual_seed(0)
model = Block()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
sequence = torch.randn(8, 8)
rank = dist.get_rank()
for _ in range(2):
    out = model(sequence[rank * 2 : rank * 2 + 2])
    optimizer.zero_grad()
    out.square().sum().backward()
    if RIGHT:
        for parameter in model.norm.parameters():
            dist.all_reduce(parameter.grad)
    optimizer.step()  # fault: aten::lerp_
dist.destroy_process_group()
