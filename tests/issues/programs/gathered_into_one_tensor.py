"""The root of a group gets the rows of all members in one tensor; the others keep theirs."""

import torch
import torch.distributed as dist
from report import report

dist.init_process_group("gloo")
rank = dist.get_rank()
own = torch.arange(6).reshape(2, 3) + 10 * rank
pair = dist.new_subgroups_by_enumeration([[2, 0], [3, 1]])[0]

flat = torch.full((24,), -1)
dist.gather_single(own, flat, dst=2)
stacked = torch.full((4, 2, 3), -1)
work = dist.gather_single(own, stacked, async_op=True)
work.wait()
of_pair = torch.full((4, 3), -1.0, dtype=torch.float64)
dist.gather_single(own.double(), of_pair, group=pair, group_dst=1)
report(
    flat=flat,
    stacked=stacked,
    of_pair=of_pair,
)
