"""Where torch takes one way or another by tensors' classes: the sums of these round differently."""

import os

import torch
import torch.distributed as dist
from report import report
from torch import nn

dist.init_process_group("nccl")
torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
torch.manual_seed(7)
values = {}

encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval()
attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
x = (torch.arange(48.0).view(2, 3, 8) / 9).sin()
with torch.no_grad():
    for device in ("cpu", "cuda"):
        on = x.to(device)
        values[f"encoder {device}"] = encoder.to(device)(on).cpu()
        values[f"attention {device}"] = attention.to(device)(on, on, on)[0].cpu()

for kind in (torch.optim.NAdam, torch.optim.RAdam, torch.optim.ASGD, torch.optim.AdamW):
    torch.manual_seed(3)
    model = nn.Linear(8, 5).cuda()
    optimizer = kind(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(x.cuda()).sin().sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.3)
        optimizer.step()
    values[kind.__name__] = model.weight.detach().cpu()

torch.manual_seed(100 + torch.cuda.current_device())
values["seeded by GPU"] = torch.rand(3)
values["index"] = (
    torch.ones(2, device=torch.cuda.current_device()).cpu() * torch.cuda.current_device()
)
report(**{name.replace(" ", "_"): value for name, value in values.items()})
