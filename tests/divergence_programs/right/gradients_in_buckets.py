"""Micro-batches, gradients reduced as one tensor, by turns in two ways, and a moving average."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, foreach=True)
x = torch.randn(size * 4, 4)
ema = [p.detach().clone() for p in model.parameters()]
for k in range(4):
    for h in range(2):
        loss = model(x[rank * 4 + h * 2 : rank * 4 + h * 2 + 2]).pow(2).mean()
        loss.backward()
    gs = [p.grad for p in model.parameters()]
    flat = _flatten_dense_tensors(gs)
    if k % 2:
        pad = (-flat.numel()) % size
        f = F.pad(flat, (0, pad))
        piece = torch.empty(f.numel() // size)
        dist.reduce_scatter_tensor(piece, f)
        piece /= size
        dist.all_gather_into_tensor(f, piece)
        flat = f[: flat.numel()]
    else:
        work = dist.all_reduce(flat, async_op=True)
        work.wait()
        flat /= size
    for g, n in zip(gs, _unflatten_dense_tensors(flat, gs), strict=True):
        g.copy_(n)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    for e, p in zip(ema, model.parameters(), strict=True):
        e.lerp_(p.detach(), 0.1)
dist.destroy_process_group()
