"""What functions of torch.distributed do in a fake world: the same, whatever the number of ranks.

PyTorch makes a dict of all ranks for the world, a list for each group of a mesh dimension, and
looks through them. Here a group is a few numbers (sizes and strides), and only the groups that the
rank is in are made; names count the others too, so that groups have the names that PyTorch gives.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed import distributed_c10d as c10d

from polyrank import _C
from polyrank.errors import UsageError
from polyrank.fake.group_ranks import GroupRanks
from polyrank.fake.world import FakeWorld, current_fake_world
from polyrank.replacing.layers import FAKE, LOCKSTEP_GROUPS
from polyrank.replacing.row import Row
from polyrank.torch_features import OF_NO_PART

__all__ = ["ROWS", "is_on", "make_group"]

_FAKE = "fake"
_DEVICES = ["cpu", "cuda", "hpu", "xpu", "meta"]

# What each group was made with.
_members: weakref.WeakKeyDictionary[dist.ProcessGroup, GroupRanks] = weakref.WeakKeyDictionary()


def is_on() -> bool:
    """Whether torch.distributed makes groups through our functions.

    Not in the lockstep world, where one process makes the groups of all ranks.
    """
    return FAKE.is_on and not LOCKSTEP_GROUPS.is_on


def _is_fake(backend: Any) -> bool:
    world = current_fake_world()
    if world is not None and world.takes_any_backend:
        return True
    return set(c10d.BackendConfig(c10d.Backend(backend)).get_device_backend_map().values()) == {
        _FAKE
    }


def make_group(
    ranks: GroupRanks,
    group_name: c10d.GroupName,
    store: Store,
    *,
    options: Any = None,
    group_desc: str | None = None,
    tag: str | None = None,
) -> dist.ProcessGroup:
    """A fake group, known to torch.distributed under that name."""
    store = PrefixStore(f"{group_name}/", store)
    backend = _C.FakeProcessGroup.of_member(ranks.member, options or ranks.world.options)
    group = _C.make_fake_group(store, backend, _DEVICES)
    group._set_group_name(group_name)
    group._set_group_desc("undefined" if group_desc is None else group_desc)
    placing: dict[str, Any] = {"pg_tag": f"user:{tag}"} if tag else {"add_to_default_tag": True}
    c10d._register_pg_in_world(
        group,
        backend_name=c10d.Backend(_FAKE),
        store=store,
        group_name=group_name,
        backend_config=str(c10d.BackendConfig(c10d.Backend(_FAKE))),
        rank_mapping=ranks,  # type: ignore[arg-type]
        **placing,
    )
    _members[group] = ranks
    return group


def _make_helper(original: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(original)

    @functools.wraps(original)
    def new_process_group_helper(*args: Any, **kwargs: Any) -> Any:
        """`_new_process_group_helper`, which all groups are made by."""
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        given = call.arguments
        listed = given["global_ranks_in_group"]
        tag = given["pg_tag"]
        world = current_fake_world()
        if not is_on() or not _is_fake(given["backend"]) or (len(listed) > 0 and world is None):
            return original(*args, **kwargs)
        if given["group_name"] in c10d._world.pg_names.values():
            return original(*args, **kwargs)  # which refuses it
        if not len(listed):
            size, rank = given["group_size"], given["group_rank"]
            ranks = FakeWorld(size, rank, given["backend_options"]).whole()
        elif tag and (known := c10d._find_pg_by_ranks_and_tag(tag, listed)):
            return known, c10d._world.pg_map[known][1]
        elif world is not None and world.rank in listed:
            ranks = world.listed(listed)
        else:
            return c10d.GroupMember.NON_GROUP_MEMBER, None
        group = make_group(
            ranks,
            given["group_name"],
            given["store"],
            options=given["backend_options"],
            group_desc=given["group_desc"],
            tag=tag,
        )
        return group, c10d._world.pg_map[group][1]

    return new_process_group_helper


def _make_init(original: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(original)

    @functools.wraps(original)
    def init_process_group(*args: Any, **kwargs: Any) -> None:
        backend = signature.bind(*args, **kwargs).arguments.get("backend")
        if not is_on() or backend is None or str(backend).lower() != _FAKE:
            original(*args, **kwargs)
            return
        # PyTorch fills a dict from `range(world size)`. Its module sees an empty range meanwhile,
        # and the members that the group was made with take the place of the empty dict.
        vars(c10d)["range"] = lambda size: ()
        try:
            original(*args, **kwargs)
        finally:
            del vars(c10d)["range"]
        group = c10d._get_default_group()
        c10d._world.pg_group_ranks[group] = _members[group]  # type: ignore[assignment]

    return init_process_group


def _make_new_group(original: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(original)

    @functools.wraps(original)
    def new_group_with_tag(*args: Any, **kwargs: Any) -> Any:
        """`_new_group_with_tag`: a group of all ranks needs no list of them."""
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        given = call.arguments
        world = current_fake_world()
        if (
            world is None
            or given["ranks"] is not None
            or given["use_local_synchronization"]
            or not _is_fake(given["backend"] or _FAKE)
        ):
            return original(*args, **kwargs)
        return make_group(
            world.whole(),
            c10d._process_group_name([], use_hashed_name=False),
            _default_store(),
            options=given["backend_options"],
            group_desc=given["group_desc"],
            tag=given["pg_tag"],
        )

    return new_group_with_tag


def _default_store() -> Store:
    store: Store = c10d._world.pg_map[c10d._get_default_group()][1]
    return store


def _make_split_group(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def split_group(
        parent_pg: dist.ProcessGroup | None = None,
        split_ranks: list[list[int]] | None = None,
        timeout: Any = None,
        pg_options: Any = None,
        group_desc: str | None = None,
        backend: Any = None,
    ) -> dist.ProcessGroup | int | None:
        world = current_fake_world()
        parent = parent_pg or c10d._get_default_group()
        members = c10d._world.pg_group_ranks.get(parent)
        if world is None or not split_ranks or members is None or not _is_fake(backend or _FAKE):
            return original(  # type: ignore[no-any-return]
                parent_pg, split_ranks, timeout, pg_options, group_desc, backend
            )
        own = members.get(world.rank, -1)
        mine = next((sorted(ranks) for ranks in split_ranks if own in ranks), None)
        if mine is None:
            return OF_NO_PART
        return make_group(
            world.listed([c10d.get_global_rank(parent, rank) for rank in mine]),
            c10d._process_group_name(mine, use_hashed_name=True),
            _default_store(),
            options=pg_options,
            group_desc=group_desc,
        )

    return split_group


def _make_get_global_rank(original: Callable[..., int]) -> Callable[..., int]:
    @functools.wraps(original)
    def get_global_rank(group: dist.ProcessGroup, group_rank: int) -> int:
        """The same without going through the members until it finds the one."""
        ranks: Mapping[int, int] | None = c10d._world.pg_group_ranks.get(group)
        if not isinstance(ranks, GroupRanks):
            return original(group, group_rank)
        if not 0 <= group_rank < len(ranks):
            raise UsageError(f"Group rank {group_rank} is not part of group {group}")
        return ranks.member.global_rank_of(group_rank)

    return get_global_rank


_C10D = "torch.distributed.distributed_c10d"
_ALL_RANKS = "goes through all ranks"

ROWS = (
    Row(_C10D, "_new_process_group_helper", _make_helper, "makes groups with lists of members"),
    Row(_C10D, "_new_group_with_tag", _make_new_group, _ALL_RANKS),
    Row(_C10D, "get_global_rank", _make_get_global_rank, _ALL_RANKS),
    Row(_C10D, "init_process_group", _make_init, "makes a dict of all ranks"),
    Row(_C10D, "split_group", _make_split_group, "there for accelerators alone"),
)
