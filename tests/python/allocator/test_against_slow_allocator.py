"""Random programs give the same blocks, segments and figures in C++ and by the published rules."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from allocator.slow_allocator import MIB, UNLIMITED, Full, Piece, SlowAllocator
from hypothesis import given, settings
from hypothesis import strategies as st
from polyrank import _C

sizes = st.one_of(
    st.integers(1, 4096),
    st.integers(1, 3 * MIB),
    st.integers(MIB, 90 * MIB),
    st.sampled_from([512, MIB, MIB + 1, 10 * MIB, 10 * MIB - 1, 20 * MIB]),
)
streams = st.integers(0, 2)
steps = st.one_of(
    st.tuples(st.just("allocate"), sizes, streams),
    st.tuples(st.just("allocate"), sizes, streams),
    st.tuples(st.just("free"), st.integers(0, 10**6), st.none() | streams),
    st.tuples(st.just("wait"), st.none(), st.none()),
    st.tuples(st.just("empty"), st.none(), st.none()),
)


class Both:
    """One program on the model and on the reference."""

    def __init__(self, capacity: int, max_split_size: int, divisions: int) -> None:
        options = _C.AllocatorOptions()
        options.max_split_size = max_split_size
        options.roundup_power2_divisions = [divisions] * 16
        self.fast = _C.CachingAllocator(capacity, options)
        self.slow = SlowAllocator(capacity, max_split_size=max_split_size, divisions=divisions)
        self.held: list[tuple[int, Piece]] = []

    def run(self, kind: str, first: Any, second: Any) -> None:
        if kind == "allocate":
            self._allocate(first, second)
        elif kind == "free" and self.held:
            address, piece = self.held.pop(first % len(self.held))
            if second is not None:
                self.fast.record_stream(address, second)
                self.slow.record_stream(piece, second)
            self.fast.free(address)
            self.slow.free(piece)
        elif kind == "wait":
            self.fast.wait_for_all()
            self.slow.wait_for_all()
            self._allocate(1, 0)  # what is done is free from the next request on
        elif kind == "empty":
            self.fast.empty_cache()
            self.slow.empty_cache()

    def _allocate(self, size: int, stream: int) -> None:
        try:
            address = self.fast.allocate(size, stream)
        except torch.OutOfMemoryError:
            with pytest.raises(Full):
                self.slow.allocate(size, stream)
            return
        self.held.append((address, self.slow.allocate(size, stream)))

    def check(self) -> None:
        segments = self.fast.snapshot()
        layout = [
            (
                segment["stream"],
                segment["segment_type"] == "small",
                [(block["size"], block["state"] != "inactive") for block in segment["blocks"]],
            )
            for segment in segments
        ]
        assert layout == self.slow.layout()
        stats = self.fast.stats()
        for name, value in self.slow.figures().items():
            assert stats[name]["all"]["current"] == value, name
        assert stats["num_alloc_retries"] == self.slow.retries


@settings(max_examples=150, deadline=None)
@given(
    program=st.lists(steps, max_size=60),
    capacity=st.sampled_from([60 * MIB, 200 * MIB, 2**40]),
    max_split_size=st.sampled_from([UNLIMITED, UNLIMITED, 25 * MIB]),
    divisions=st.sampled_from([0, 4]),
)
def test_random_programs(
    program: list[tuple[str, Any, Any]], capacity: int, max_split_size: int, divisions: int
) -> None:
    both = Both(capacity, max_split_size, divisions)
    for step in program:
        both.run(*step)
        both.check()


def test_a_block_that_is_not_there_is_refused() -> None:
    allocator = _C.CachingAllocator(2**30, _C.AllocatorOptions())
    with pytest.raises(ValueError, match="no block that is in use begins at 12"):
        allocator.free(12)
