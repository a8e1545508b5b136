"""What ranks count, set and find on a store of their own."""

import torch.distributed as dist
from report import report
from store_use import added, used

dist.init_process_group("gloo")
own = dist.FileStore("own_store", dist.get_world_size())
report(own=used(own), added=added(own))
