"""What ranks count, set and find on a store of their own."""

import torch.distributed as dist
from report import report

dist.init_process_group("gloo")
rank, world_size = dist.get_rank(), dist.get_world_size()


def used(store):
    """What is found after all ranks have used a store."""
    store.add("arrived", 1)
    while int(store.add("arrived", 0)) < world_size:
        pass
    store.add("by rank", 10 * rank)
    store.set("common", "the same")
    store.set(f"key {rank}", f"value {2 * rank}")
    dist.barrier()
    store.wait(["common"])
    found = {
        "sum": int(store.add("by rank", 0)),
        "common": store.get("common").decode(),
        "of ranks": [store.get(f"key {r}").decode() for r in range(world_size)],
        "checked": [store.check(["common"]), store.check([f"key {rank}"]), store.check(["none"])],
    }
    dist.barrier()
    found["swapped"] = store.compare_set("common", "the same", "other").decode()
    return found


def added(store):
    """The sums that ranks saw, whose order is anybody's."""
    sums = [None] * world_size
    dist.all_gather_object(sums, store.add("taking turns", 1))
    return sorted(sums)


own = dist.FileStore("own_store", world_size)
report(own=used(own), added=added(own))
