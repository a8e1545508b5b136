"""Process groups of ranks that are processes: whatever backend a program names, ours answers.

Of torch.distributed little is replaced, in the rank's process alone: the function in which PyTorch
makes the backends of each group, where `env://` gets a store from, `split_group`, which PyTorch has
for GPUs alone, and `init_process_group` where the default group is there before the program. Backends
that a program registers itself, and stores that it makes, are its own.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlparse

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, ProcessGroup, Store
from torch.distributed import distributed_c10d

from polyrank import _C
from polyrank.any_world.debug_level import unwrapped_groups
from polyrank.any_world.group_functions import (
    GroupNames,
    backend_config,
    show_backend_as,
    split_by_lists,
)
from polyrank.torch_features import is_of_program

__all__ = ["Holders", "RankGroups", "holders_of_replaced"]

_BACKEND = "processes"
_DEVICES = ["cpu", "cuda"]
_RENDEZVOUS: Any = sys.modules["torch.distributed.rendezvous"]  # under a function of its name


# What PyTorch asks where a group's backend is called nccl, for profiles and for what it logs of an
# error, and what a build without NCCL lacks: version 0.0.0.
_OF_NCCL: Mapping[str, Callable[[], Any]] = {
    "_nccl_version": lambda: 0,
    "_nccl_version_suffix": lambda: b"",
}

# Functions of distributed_c10d that are replaced, and where: namespaces with the name that each has.
Holders = Mapping[str, Sequence[tuple[dict[str, Any], str]]]
_REPLACED = ("_new_process_group_helper", "init_process_group", "split_group")


def holders_of_replaced() -> Holders:
    """All modules that hold the functions, under whatever name; asked once, before the forks."""
    names = {id(getattr(distributed_c10d, name)): name for name in _REPLACED}
    holders: dict[str, list[tuple[dict[str, Any], str]]] = {name: [] for name in _REPLACED}
    for module in tuple(sys.modules.values()):
        namespace = getattr(module, "__dict__", None)
        if isinstance(namespace, dict):
            for key, value in tuple(namespace.items()):
                if id(value) in names:
                    holders[names[id(value)]].append((namespace, key))
    return holders


class RankGroups:
    """Makes the groups of one rank, in its process; not in those that it starts."""

    def __init__(self, run: _C.SharedRun, rank: int, world_size: int) -> None:
        self._run = run
        self._rank = rank
        self._world_size = world_size
        self._store = _C.SharedStore(run)
        self._pid = os.getpid()
        self._members = list(range(world_size))  # of the default group: ranks of the run
        self._suffix = ""  # of the names of its groups
        self._shown_as = _BACKEND  # what profilers call the backend of the group that is being made
        self._num_worlds = 0  # default groups that this rank was in
        self._num_uses: dict[str, int] = {}  # of `env://`, by address
        self._names = GroupNames()
        self._is_made_beforehand = False  # the default group, by no call of the program

    def replace(self, holders: Holders) -> None:
        """Let the groups that this process makes from now on be ours."""
        dist.Backend.register_backend(
            _BACKEND, self.make_backend, extended_api=True, devices=_DEVICES
        )
        for name, answer in _OF_NCCL.items():
            if not hasattr(torch._C, name):
                setattr(torch._C, name, answer)
        handlers = _RENDEZVOUS._rendezvous_handlers
        handlers["env"] = self._only_here(handlers["env"], self.rendezvous)
        ours: tuple[Callable[..., Any], ...] = (
            self.new_group,
            self.init_process_group,
            self.split_group,
        )
        for name, function in zip(_REPLACED, ours, strict=True):
            original = getattr(distributed_c10d, name)
            replacement = self._only_here(original, functools.partial(function, original))
            for namespace, key in holders[name]:
                namespace[key] = replacement

    def make_default_group(self) -> None:
        """Make it before the program starts, which may call init_process_group all the same."""
        dist.init_process_group()
        self._is_made_beforehand = True

    def _only_here(self, original: Callable[..., Any], ours: Callable[..., Any]) -> Any:
        """`ours` in this process; in one that it forks, the original."""

        @functools.wraps(original)
        def call(*args: Any, **options: Any) -> Any:
            return (ours if os.getpid() == self._pid else original)(*args, **options)

        return call

    def init_process_group(self, original: Callable[..., Any], *args: Any, **options: Any) -> None:
        """`init_process_group`, which makes the group anew if the program has not made it."""
        if self._is_made_beforehand:
            self._is_made_beforehand = False
            if dist.is_initialized():
                dist.destroy_process_group()
        original(*args, **options)

    def rendezvous(self, url: str, **_options: Any) -> Iterator[tuple[Store, int, int]]:
        """What `env://` gives: the store of the run, where each default group has keys of its own."""
        given = parse_qs(urlparse(url).query)
        rank, world_size = (
            int(given[name][0]) if name in given else _variable(name.upper())
            for name in ("rank", "world_size")
        )
        address = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        use = self._num_uses[address] = self._num_uses.get(address, 0) + 1
        yield PrefixStore(f"{address}/{use}", self._store), rank, world_size

    def new_group(
        self,
        original: Callable[..., Any],
        group_size: int,
        group_rank: int,
        members: list[int],
        backend: Any,
        store: Store,
        *args: Any,
        device_id: Any = None,
        **options: Any,
    ) -> Any:
        """`_new_process_group_helper` with our backend under the name that the program gives."""
        named = _backends_of(backend)
        if any(map(is_of_program, named)):
            return original(
                group_size,
                group_rank,
                members,
                backend,
                store,
                *args,
                device_id=device_id,
                **options,
            )
        if group_size == -1:  # MPI's, which asks nobody
            group_size, group_rank, store = self._world_size, self._rank, self._store
        self._shown_as = _name_for_cpu(backend)
        # Without the device, of which PyTorch would split the communicators.
        with unwrapped_groups():
            made, prefix_store = original(
                group_size, group_rank, members, dist.Backend(_BACKEND), store, *args, **options
            )
        if isinstance(made, ProcessGroup):
            show_backend_as(made, backend)
        return made, prefix_store

    def split_group(
        self,
        _original: Callable[..., Any],
        parent_pg: Any = None,
        split_ranks: list[list[int]] | None = None,
        timeout: Any = None,
        pg_options: Any = None,
        group_desc: str | None = None,
        backend: Any = None,
    ) -> Any:
        """`split_group` without a GPU."""
        return split_by_lists(parent_pg, split_ranks, group_desc)

    def make_backend(self, options: Any, _: Any) -> Any:
        """The backend of one group, as `Backend.register_backend` wants it made."""
        listed = list(options.global_ranks_in_group)
        if listed:
            members = [self._members[rank] for rank in listed]
            name = self._names.name_of(options.group_id, members)
        else:
            self._meet(options.store, options.group_rank, options.group_size)
            name, members = "world", self._members
        return _C.ProcessesBackend(self._run, name + self._suffix, members, self._shown_as)

    def _meet(self, store: Store, group_rank: int, group_size: int) -> None:
        """Learn who is in a default group, for a program may number its ranks as it likes."""
        store.set(f"rank {group_rank}", f"{self._rank} {self._num_worlds}")
        told = [store.get(f"rank {rank}").decode().split() for rank in range(group_size)]
        self._members = [int(rank) for rank, _ in told]
        self._num_worlds += 1
        number = int(told[0][1]) + 1  # of worlds of its first rank
        self._suffix = "" if number == 1 else f" of world {number}"
        if self._members != list(range(self._world_size)):
            self._suffix += f" of ranks {','.join(map(str, self._members))}"


def _variable(name: str) -> int:
    value = os.environ.get(name)
    if not value:
        raise ValueError(
            f"Error initializing torch.distributed using env:// rendezvous: environment variable "
            f"{name} expected, but not set"
        )
    return int(value)


def _backends_of(backend: Any) -> list[str]:
    """The names in `gloo` or `cpu:gloo,cuda:nccl`."""
    return [part.rpartition(":")[2] for part in str(backend).split(",")]


def _name_for_cpu(backend: Any) -> str:
    """`gloo` of `gloo`, of `cpu:gloo,cuda:nccl`, and of no name; `nccl` of `nccl`."""
    by_device = dict(
        part.split(":", 1) for part in backend_config(backend).split(",") if ":" in part
    )
    return by_device.get("cpu") or _backends_of(backend)[0]
