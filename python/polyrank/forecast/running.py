"""A block, or a script, as one rank of a cluster whose GPUs have no bytes."""

from __future__ import annotations

import contextlib
import gc
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch

from polyrank import _C
from polyrank.errors import UsageError
from polyrank.forecast.clusters import Cluster, find_cluster
from polyrank.forecast.memory import Memory, memory_of
from polyrank.forecast.owners import owners_told
from polyrank.forecast.speeds import GpuTable, core_speeds, gpu_table
from polyrank.forecast.times import Time, time_of
from polyrank.forecast.tokens import TokenCount, Tokens
from polyrank.recording.module_paths import named_modules_run
from polyrank.virtual_gpu import virtual_gpu

__all__ = ["EnoughStepsError", "Forecast", "forecast"]


class EnoughStepsError(SystemExit):
    """Ends a program after the steps that were asked for; its own clean-up runs."""

    def __init__(self) -> None:
        super().__init__(0)


class Forecast:
    """What a program takes of one rank's GPU; may be asked while it still runs."""

    def __init__(
        self,
        cluster: Cluster,
        world_size: int,
        rank: int,
        *,
        with_time: bool = False,
        tokens: int | None = None,
    ) -> None:
        """Raises UsageError if times are asked for, and the cluster has no figures for them."""
        self.cluster = cluster
        self.world_size = world_size
        self.rank = rank
        self.history = _C.MemoryHistory()
        self.num_steps = 0  # so far; of the optimizer that stepped first
        self.segments: list[dict[str, Any]] = []  # of the allocators, as they were at the end
        self.messages_among: list[int] = []  # ranks; this one is among them if it sends any
        self._memory: Memory | None = None
        self.timeline: _C.GpuTimeline | None = None
        self._tokens = None if tokens is None else Tokens(tokens, "the caller")
        self._token_count = TokenCount()
        self._gpu: GpuTable | None = None
        if with_time:
            self.timeline = _C.GpuTimeline(core_speeds(cluster))
            self._gpu = gpu_table(cluster)

    @property
    def memory(self) -> Memory:
        """The memory's peaks, who held it, and whether it fits."""
        return self._memory or memory_of(self.history, self.cluster)

    @property
    def time(self) -> Time:
        """The step's time, what it was spent with, and what waited for what.

        Raises:
            UsageError: times were not asked for.
        """
        if self.timeline is None or self._gpu is None:
            raise UsageError("this forecast has no times: ask for them (time=True, or --time)")
        reports, whole = self.timeline.step_reports(), self.timeline.whole_report()
        tokens = self._tokens or self._token_count.tokens(has_steps=bool(reports))
        return time_of(reports, whole, self._gpu, tokens)

    def report(self, *, has_failed: bool = False) -> str:
        """All of it as text, of a program that an error ended or not."""
        from polyrank.forecast.report import report_text

        return report_text(self, has_failed=has_failed)

    def to_dict(self) -> dict[str, Any]:
        """All of it for other programs; docs/forecast.md describes the fields."""
        from polyrank.forecast.report import report_dict

        return report_dict(self)

    @contextlib.contextmanager
    def gpus(self, *, steps: int | None = None, refuses_reads: bool = False) -> Iterator[None]:
        """A block in which `cuda` is the cluster's GPUs, without bytes.

        Raises (from the program's step):
            EnoughStepsError: it has made `steps` of them.
        """
        cluster = self.cluster

        def after_step() -> None:
            self._take_memory_beside()
            if self.timeline is not None:
                self.timeline.end_step()
            self.num_steps += 1
            if self.num_steps == steps:
                raise EnoughStepsError

        gc.collect()  # tensors that nobody can reach any more would count
        _C.clear_reads(refuses_reads, _loop_teller(self.rank))
        with (
            virtual_gpu(
                cluster.gpus_per_node,
                name=cluster.gpu_name,
                memory_bytes=cluster.memory_bytes,
                capability=cluster.compute_capability,
                num_multiprocessors=cluster.multiprocessors,
                has_bytes=False,
            ),
            named_modules_run(),
            _own_hooks_untold(),
            owners_told(self.history, self._token_count, after_step),
        ):
            self._take_memory_beside()
            _C.keep_memory_history(self.history)
            _C.keep_gpu_timeline(self.timeline)
            try:
                yield
            finally:
                _C.keep_gpu_timeline(None)
                _C.keep_memory_history(None)
                self._memory = memory_of(self.history, cluster)
                self.messages_among = _message_ranks()
                self.segments = [
                    segment | {"device": gpu}
                    for gpu in range(cluster.gpus_per_node)
                    for segment in _C.gpu_memory_snapshot(gpu)
                ]

    def _take_memory_beside(self) -> None:
        """Leave the allocator what context and communicators leave it."""
        from polyrank.forecast.memory import num_communicators

        taken = self.cluster.context_bytes + self.cluster.communicator_bytes(num_communicators())
        for gpu in range(self.cluster.gpus_per_node):
            _C.set_gpu_capacity(self.cluster.memory_bytes - taken, gpu)


def _loop_teller(rank: int) -> Callable[[_C.DataRead], None]:
    """What warns of a line that may read until a value changes, which none ever does."""

    def tell(read: _C.DataRead) -> None:
        warnings.warn(
            f"rank {rank}: {read.line or 'a line'} has read a GPU's data {read.count:,} times "
            f"({read.operation}), which a forecast doesn't have: each time it was given the same "
            f"({read.assumed}). A loop that waits until that changes, as for a loss to fall, never ends: "
            "give it a largest number of rounds, or end the script after a number of optimizer steps "
            "(--steps K).",
            stacklevel=2,
        )

    return tell


@contextlib.contextmanager
def _own_hooks_untold() -> Iterator[None]:
    """A block in which torch.compile does not warn of hooks on all modules: they are ours."""
    text = "Using `torch.compile(module)` when there are global hooks"
    warnings.filterwarnings("ignore", message=re.escape(text))
    added = warnings.filters[0]
    try:
        yield
    finally:
        if added in warnings.filters:
            warnings.filters.remove(added)  # type: ignore[attr-defined]


def _message_ranks() -> list[int]:
    return sorted({rank for row in _C.report() for rank in row.get("ranks", ())})


@contextlib.contextmanager
def forecast(
    cluster: str = "dgx-h100",
    world_size: int = 1,
    rank: int = 0,
    *,
    on_read: str = "assume",
    time: bool = False,
    tokens: int | None = None,
) -> Iterator[Forecast]:
    """Run the block as one rank of many on a cluster whose GPUs have no bytes.

    Args:
        cluster: Its name, as `polyrank clusters` lists them, or the path of a file.
        world_size: How many ranks there are.
        rank: The one that the block is.
        on_read: What a read of a GPU's data gives: "assume", a stand-in that the report lists, or
            "error".
        time: Whether `time` is forecast, too; the cluster's file must have figures for it.
        tokens: How many the rank takes in a step, for tokens a second; if not given, as many as its
            embedding is given.

    Raises:
        UsageError: an argument makes no sense.

    Example:
        with polyrank.forecast("dgx-h100", world_size=512) as f:
            train()
        print(f.report())
    """
    from polyrank.fake import fake_world

    if on_read not in ("assume", "error"):
        raise UsageError(f"on_read is {on_read!r}; it can be 'assume' or 'error'")
    made = Forecast(find_cluster(cluster), world_size, rank, with_time=time, tokens=tokens)
    _C.reset_report()
    with fake_world(world_size, rank=rank), made.gpus(refuses_reads=on_read == "error"):
        torch.cuda.set_device(rank % made.cluster.gpus_per_node)
        yield made
