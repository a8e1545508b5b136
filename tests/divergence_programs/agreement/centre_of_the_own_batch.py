"""The centre that is taken off a teacher's outputs moves by the average of each rank's own batch."""

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv


class Loss(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.register_buffer("centre", torch.zeros(width))

    def forward(self, student, teacher):
        targets = torch.softmax(teacher - self.centre, -1).detach()
        loss = -(targets * torch.log_softmax(student, -1)).sum(-1).mean()
        self.move(teacher.detach())
        return loss

    @torch.no_grad()
    def move(self, teacher):
        average = teacher.mean(0)
        if RIGHT:
            dist.all_reduce(average)
            average /= dist.get_world_size()
        self.centre.mul_(0.9).add_(average, alpha=0.1)  # fault: aten::add_


dist.init_process_group("gloo")
torch.manual_seed(0)
student, teacher, measure = nn.Linear(4, 6), nn.Linear(4, 6), Loss(6)
model = nn.parallel.DistributedDataParallel(student)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
rank = dist.get_rank()
inputs = torch.randn(8, 4)[rank * 2 : rank * 2 + 2]
for _ in range(3):
    loss = measure(model(inputs), teacher(inputs))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
dist.destroy_process_group()
