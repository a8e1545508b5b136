"""A contrastive loss of the own rows against all ranks' columns, which are gathered without their gradient."""
# Only for ranks on their own: a list is indexed by the rank.

import sys

import torch
import torch.distributed as dist
from regions import own_part
from torch import nn
from torch.distributed.nn.functional import all_gather

RIGHT = "right" in sys.argv


def gathered(own):
    if RIGHT:
        return torch.cat(all_gather(own))
    pieces = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(pieces, own)
    pieces[dist.get_rank()] = own
    return torch.cat(pieces)  # fault: aten::slice


class Pairs(nn.Module):
    def __init__(self):
        super().__init__()
        self.image, self.text = nn.Linear(4, 6), nn.Linear(5, 6)

    def forward(self, images, texts):
        rows = nn.functional.normalize(self.image(images), dim=1)
        columns = nn.functional.normalize(self.text(texts), dim=1)
        chances = torch.log_softmax(rows @ gathered(columns).t() / 0.1, 1)
        own = torch.arange(len(rows)) + dist.get_rank() * len(rows)
        return -chances.gather(1, own[:, None]).mean()


dist.init_process_group("gloo")
torch.manual_seed(0)
model = Pairs()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
images, texts = torch.randn(8, 4), torch.randn(8, 5)
for _ in range(2):
    loss = model(own_part(images, 0), own_part(texts, 0))
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= dist.get_world_size()
    optimizer.step()
dist.destroy_process_group()
