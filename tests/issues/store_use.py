"""What ranks count, set and find on a store that all of them have."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist


def used(store: dist.Store) -> dict[str, Any]:
    """What is found after all ranks have used a store."""
    rank, world_size = dist.get_rank(), dist.get_world_size()
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


def appended(store: dist.Store) -> list[int]:
    """How long the values are to which all ranks have appended."""
    store.append("list", "x")
    store.append("ranks", str(dist.get_rank() // dist.get_world_size()))
    dist.barrier()
    return [len(store.get("list")), len(store.get("ranks"))]


def added(store: dist.Store) -> list[int]:
    """The sums that ranks saw, whose order is anybody's."""
    sums: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(sums, store.add("taking turns", 1))
    return sorted(sums)
