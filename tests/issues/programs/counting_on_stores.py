"""What ranks count, set and find on the store of the default group."""

import torch.distributed as dist
from report import report
from store_use import added, appended, used

dist.init_process_group("gloo")
default = dist.distributed_c10d._get_default_store()
prefixed = dist.PrefixStore("mine", default)
report(
    default=used(default),
    prefixed=used(prefixed),
    appended=[appended(default), appended(prefixed)],
    added=added(default),
)
