"""A timeout that is set after the group was made, and what the group does then."""

from datetime import timedelta

import torch
import torch.distributed as dist
from report import report

dist.init_process_group("gloo", timeout=timedelta(seconds=90))
pair = dist.new_subgroups_by_enumeration([[0, 3], [1, 2]])[0]
for group in (dist.group.WORLD, pair):
    group.set_timeout(timedelta(seconds=60))
summed, of_pair = (torch.ones(2) * (dist.get_rank() + 1) for _ in range(2))
dist.all_reduce(summed)
dist.all_reduce(of_pair, group=pair)
report(summed=summed, of_pair=of_pair)
