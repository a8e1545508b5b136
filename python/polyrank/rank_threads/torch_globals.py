"""What PyTorch keeps once a process and each rank needs for itself, while ranks are threads."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch.distributed as dist

# Its functions have the default group of who imports them first as a default, which is to be none.
import torch.distributed.nn.functional  # noqa: F401
from torch._C import _distributed_c10d
from torch._C._distributed_c10d import PrefixStore, ProcessGroup
from torch.distributed import distributed_c10d

from polyrank import _C
from polyrank.any_world.group_functions import show_backend_as
from polyrank.any_world.mesh_identity import wrap_mesh_init, wrap_mesh_load, wrap_mesh_save
from polyrank.any_world.spawned_ranks import start_rows
from polyrank.errors import UnsupportedOpError, UsageError
from polyrank.rank_threads.group_functions import wrap_monitored_barrier, wrap_split_group
from polyrank.rank_threads.rank_globals import new_groups, rank_globals
from polyrank.rank_threads.spawning import wrap_start_processes
from polyrank.replacing.layers import THREADS
from polyrank.replacing.row import Row

__all__ = ["BACKEND", "ROWS", "globals_by_thread"]

BACKEND = "threads"


class _Shared:
    """Whose attributes another thread has, too."""


class _GroupsOfThread(threading.local):
    """`distributed_c10d._world`, each rank's own; other threads have the process's.

    What a rank has lies in the dict of its first thread, where C code finds it: PyTorch's functions
    look there several times a collective. Threads that the rank has started look there, too.
    """

    def __init__(self, of_process: Any) -> None:
        own = rank_globals()
        if own is None:
            vars(self)["_of_process"] = of_process
        elif own.groups is None:
            own.groups = vars(self)
            own.groups.update(new_groups())
        else:
            shared = vars(self)["_of_process"] = _Shared()
            shared.__dict__ = own.groups

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["_of_process"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        if (of_process := vars(self).get("_of_process")) is None:
            vars(self)[name] = value
        else:
            setattr(of_process, name, value)


def _make_backend(options: Any, _: Any) -> Any:
    """The backend of one group, as `Backend.register_backend` wants it made."""
    own = rank_globals()
    if own is None:
        raise UsageError(
            'backend "threads" belongs to ranks that are threads: call '
            "init_process_group inside of polyrank.run_ranks"
        )
    listed = list(options.global_ranks_in_group)
    name = own.names.name_of(options.group_id, listed) if listed else "world"
    if own.num_worlds > 1:  # names start anew with the default group
        name = f"{name} of world {own.num_worlds}"
    return _C.ThreadsBackend(own.rank_thread, name, listed or list(range(own.world_size)))


def _register_backend() -> None:
    if BACKEND not in dist.Backend.backend_list:
        dist.Backend.register_backend(
            BACKEND, _make_backend, extended_api=True, devices=["cpu", "cuda"]
        )


def _wrap_init(original: Callable[..., Any]) -> Callable[..., Any]:
    """`init_process_group` with any backend: the ranks meet in memory."""

    @functools.wraps(original)
    def init_process_group(
        backend: Any = None,
        init_method: Any = None,
        timeout: Any = None,
        world_size: int = -1,
        rank: int = -1,
        *args: Any,
        **options: Any,
    ) -> None:
        own = rank_globals()
        if own is None:
            original(backend, init_method, timeout, world_size, rank, *args, **options)
            return
        if world_size not in (-1, own.world_size):
            raise UsageError(
                f"the program asks for a world of {world_size} ranks, but {own.world_size} run. A group of some "
                "of them is dist.new_group(); worlds of their own are for ranks that are processes "
                "(`polyrank run --world processes`)"
            )
        if rank not in (-1, own.rank_thread.rank):
            raise UsageError(
                f"the program says that it is rank {rank}, but it runs as rank "
                f"{own.rank_thread.rank}"
            )
        if dist.is_initialized() and not own.is_default_group_claimed:
            own.is_default_group_claimed = True  # made before the program started
        elif dist.is_initialized():
            original(backend)  # says that there is one
        else:
            own.is_default_group_claimed = True
            own.num_worlds += 1
            store = PrefixStore(str(own.num_worlds), own.store)
            original(BACKEND, store=store, rank=own.rank_thread.rank, world_size=own.world_size)
        show_backend_as(distributed_c10d._get_default_group(), dist.Backend(backend or "undefined"))

    return init_process_group


def _wrap_helper(original: Callable[..., Any]) -> Callable[..., Any]:
    """`_new_process_group_helper`, which makes each group, whatever backend is asked for."""

    @functools.wraps(original)
    def new_process_group(
        group_size: int, group_rank: int, members: list[int], backend: Any, *args: Any, **kw: Any
    ) -> Any:
        if rank_globals() is None:
            return original(group_size, group_rank, members, backend, *args, **kw)
        made, store = original(group_size, group_rank, members, dist.Backend(BACKEND), *args, **kw)
        if isinstance(made, ProcessGroup):
            show_backend_as(made, backend)
        return made, store

    return new_process_group


def _wrap_wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
    """`_create_process_group_wrapper`, asked for by the debug level DETAIL: compares what ranks
    launch, over gloo. That is compared here anyway (see any_world/debug_level.py).
    """

    @functools.wraps(original)
    def wrap(wrapped_pg: Any, *args: Any, **options: Any) -> Any:
        if rank_globals() is None:
            return original(wrapped_pg, *args, **options)
        return wrapped_pg

    return wrap


def _wrap_flight_recorder(original: Callable[..., None]) -> Callable[..., None]:
    """`_maybe_attach_flight_recorder`: the recorder dumps what the one rank of its process launched."""

    @functools.wraps(original)
    def attach(*args: Any, **options: Any) -> None:
        if rank_globals() is None:
            original(*args, **options)

    return attach


def _wrap_register(original: Callable[[str, Any], None]) -> Callable[[str, Any], None]:
    """`_register_process_group`, of which each thread has a list: a rank's threads have one."""

    @functools.wraps(original)
    def register(name: str, group: Any) -> None:
        thread = _C.RankThread.current()
        if thread is None:
            original(name, group)
        else:
            thread.register_group(name, group)

    return register


def _wrap_unregister(original: Callable[[str], None]) -> Callable[[str], None]:
    @functools.wraps(original)
    def unregister(name: str) -> None:
        thread = _C.RankThread.current()
        if thread is None:
            original(name)
        else:
            thread.unregister_group(name)

    return unregister


def _wrap_unregister_all(original: Callable[[], None]) -> Callable[[], None]:
    @functools.wraps(original)
    def unregister_all() -> None:
        thread = _C.RankThread.current()
        if thread is None:
            original()
        else:
            thread.unregister_groups()

    return unregister_all


_C10D = "torch.distributed.distributed_c10d"


def _refuse_rpc(original: Callable[..., Any]) -> Callable[..., Any]:
    """`init_rpc`, which waits for the agents of other processes."""

    @functools.wraps(original)
    def init_rpc(*args: Any, **options: Any) -> None:
        if rank_globals() is not None:
            raise UnsupportedOpError(
                "torch.distributed.rpc has one agent a process, and ranks are threads of one here. Make "
                "each rank a process: `polyrank run --world processes`, or "
                'run_ranks(function, world_size, world="processes").'
            )
        original(*args, **options)

    return init_rpc


_REGISTRY = "knows the groups that one thread made, and a rank may have several"
_MESH = "equals other ranks' meshes, so that caches hand one rank's plan to another"

ROWS = (
    Row(_C10D, "_world", _GroupsOfThread, "one process has the groups of one rank"),
    Row(_C10D, "_new_process_group_helper", _wrap_helper, "makes groups of the backend asked for"),
    Row(_C10D, "init_process_group", _wrap_init, "reaches for the network"),
    Row(
        _C10D,
        "_maybe_attach_flight_recorder",
        _wrap_flight_recorder,
        "records for the one rank of its process",
        is_optional=True,
    ),
    Row(_C10D, "_create_process_group_wrapper", _wrap_wrapper, "compares launches over gloo"),
    Row(_C10D, "_register_process_group", _wrap_register, _REGISTRY),
    Row(_C10D, "_unregister_process_group", _wrap_unregister, _REGISTRY),
    Row(_C10D, "_unregister_all_process_groups", _wrap_unregister_all, _REGISTRY),
    *(
        Row(
            "torch.distributed.device_mesh:DeviceMesh",
            name,
            wrap,
            _MESH,
            is_optional=name != "__init__",
        )
        for name, wrap in (
            ("__init__", wrap_mesh_init),
            ("__getstate__", wrap_mesh_save),
            ("__setstate__", wrap_mesh_load),
        )
    ),
    Row(_C10D, "monitored_barrier", wrap_monitored_barrier, "there for gloo alone"),
    Row(_C10D, "split_group", wrap_split_group, "there for accelerators alone"),
    Row("torch.distributed.rpc", "init_rpc", _refuse_rpc, "waits for other processes"),
    *start_rows(wrap_start_processes),
)


@contextlib.contextmanager
def globals_by_thread() -> Iterator[None]:
    """Give each thread that is a rank its own process groups; put all back afterwards."""
    _register_backend()
    with contextlib.ExitStack() as stack:
        stack.enter_context(THREADS.on())
        set_registry_by_thread: Any = vars(_distributed_c10d)["_set_thread_isolation_mode"]
        set_registry_by_thread(True)
        stack.callback(set_registry_by_thread, False)
        yield
