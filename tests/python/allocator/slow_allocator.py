"""CUDA's caching allocator once more, written from its published rules: slow, and without pointers.

A segment is a list of pieces [size, owner]; every question is answered by looking at all of them. What
it shares with the C++ model are the rules and the order in which addresses are given out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

MIB = 2**20
UNLIMITED = 2**63 - 1


class Full(Exception):
    """The device has no room."""


@dataclass
class Piece:
    size: int
    requested: int = 0
    is_held: bool = False
    waits_for: set[int] = field(default_factory=set)  # streams that may still use it
    used_by: set[int] = field(default_factory=set)

    @property
    def is_active(self) -> bool:
        return self.is_held or bool(self.waits_for)


@dataclass
class Segment:
    number: int  # in the order in which the device gave them out
    stream: int
    is_small: bool
    pieces: list[Piece]

    @property
    def size(self) -> int:
        return sum(piece.size for piece in self.pieces)

    def offset(self, piece: Piece) -> int:
        at = next(i for i, one in enumerate(self.pieces) if one is piece)
        return sum(one.size for one in self.pieces[:at])

    def merge(self) -> None:
        merged: list[Piece] = []
        for piece in self.pieces:
            if merged and not merged[-1].is_active and not piece.is_active:
                merged[-1] = Piece(merged[-1].size + piece.size)
            else:
                merged.append(piece)
        self.pieces = merged


class SlowAllocator:
    """Same calls as `_C.CachingAllocator`; pieces instead of addresses. No expandable segments."""

    def __init__(
        self, capacity: int, *, max_split_size: int = UNLIMITED, divisions: int = 0
    ) -> None:
        self.capacity = capacity
        self.max_split_size = max_split_size
        self.divisions = divisions
        self.segments: list[Segment] = []
        self.num_segments = 0
        self.retries = 0

    def rounded(self, size: int) -> int:
        if self.divisions > 1 and size > 512 * self.divisions:
            power = 2 ** int(math.log2(size))
            if size == power:
                return size
            step = power // self.divisions
            return math.ceil(size / step) * step
        return max(math.ceil(size / 512), 1) * 512

    @staticmethod
    def segment_size(size: int) -> int:
        if size <= MIB:
            return 2 * MIB
        return 20 * MIB if size < 10 * MIB else math.ceil(size / (2 * MIB)) * 2 * MIB

    @property
    def reserved(self) -> int:
        return sum(segment.size for segment in self.segments)

    def allocate(self, requested: int, stream: int) -> Piece:
        size = self.rounded(requested)
        is_small = size <= MIB
        found = self._best_fit(size, stream, is_small) or self._new(size, stream, is_small)
        if found is None and self._release_oversize(size, stream, is_small):
            found = self._new(size, stream, is_small)
        if found is None:
            self.empty_cache()
            self.retries += 1
            found = self._new(size, stream, is_small)
        if found is None:
            raise Full
        segment, piece = found
        rest = piece.size - size
        at = next(i for i, one in enumerate(segment.pieces) if one is piece)
        worth_it = rest >= 512 if is_small else size < self.max_split_size and rest > MIB
        if worth_it:
            segment.pieces[at : at + 1] = [Piece(size), Piece(rest)]
        held = segment.pieces[at]
        held.is_held, held.requested = True, requested
        return held

    def _free_pieces(self, stream: int, *, is_small: bool) -> list[tuple[int, int, int]]:
        """(size, segment's number, offset) of the free pieces, smallest first."""
        return sorted(
            (piece.size, segment.number, segment.offset(piece))
            for segment in self.segments
            if segment.stream == stream and segment.is_small == is_small
            for piece in segment.pieces
            if not piece.is_active
        )

    def _find(self, number: int, offset: int) -> tuple[Segment, Piece]:
        segment = next(one for one in self.segments if one.number == number)
        piece = next(one for one in segment.pieces if segment.offset(one) == offset)
        return segment, piece

    def _best_fit(self, size: int, stream: int, is_small: bool) -> tuple[Segment, Piece] | None:
        fits = [one for one in self._free_pieces(stream, is_small=is_small) if one[0] >= size]
        if not fits:
            return None
        found, number, offset = fits[0]
        if size < self.max_split_size <= found:
            return None
        if size >= self.max_split_size and found >= size + 20 * MIB:
            return None
        return self._find(number, offset)

    def _new(self, size: int, stream: int, is_small: bool) -> tuple[Segment, Piece] | None:
        total = self.segment_size(size)
        if self.reserved + total > self.capacity:
            return None
        self.num_segments += 1
        segment = Segment(self.num_segments, stream, is_small, [Piece(total)])
        self.segments.append(segment)
        return segment, segment.pieces[0]

    def _release_oversize(self, size: int, stream: int, is_small: bool) -> bool:
        if self.max_split_size == UNLIMITED:
            return False
        needed = max(size, self.max_split_size)
        free = self._free_pieces(stream, is_small=is_small)
        enough = [one for one in free if one[0] >= needed]
        if enough:
            self._drop(enough[0][1])
            return True
        released = 0
        for found, number, _ in reversed(free):
            if released >= needed or found < self.max_split_size:
                break
            released += found
            self._drop(number)
        return released >= needed

    def _drop(self, number: int) -> None:
        self.segments = [one for one in self.segments if one.number != number]

    def free(self, piece: Piece) -> None:
        piece.is_held = False
        piece.waits_for, piece.used_by = piece.used_by, set()
        self._merge()

    def record_stream(self, piece: Piece, stream: int) -> None:
        segment = next(s for s in self.segments if any(one is piece for one in s.pieces))
        if stream != segment.stream:
            piece.used_by.add(stream)

    def wait_for_all(self) -> None:
        for segment in self.segments:
            for piece in segment.pieces:
                piece.waits_for = set()
        self._merge()

    def empty_cache(self) -> None:
        self.wait_for_all()
        self.segments = [one for one in self.segments if any(p.is_active for p in one.pieces)]

    def _merge(self) -> None:
        for segment in self.segments:
            segment.merge()

    def layout(self) -> list[tuple[int, bool, list[tuple[int, bool]]]]:
        """By segment: stream, pool, and its pieces' sizes and whether they are in use."""
        return [
            (one.stream, one.is_small, [(piece.size, piece.is_active) for piece in one.pieces])
            for one in sorted(self.segments, key=lambda segment: segment.number)
        ]

    def figures(self) -> dict[str, int]:
        pieces = [piece for segment in self.segments for piece in segment.pieces]
        split = [
            piece
            for segment in self.segments
            for piece in segment.pieces
            if len(segment.pieces) > 1 and not piece.is_active
        ]
        return {
            "allocation": sum(piece.is_held for piece in pieces),
            "allocated_bytes": sum(piece.size for piece in pieces if piece.is_held),
            "active_bytes": sum(piece.size for piece in pieces if piece.is_active),
            "requested_bytes": sum(piece.requested for piece in pieces if piece.is_active),
            "reserved_bytes": self.reserved,
            "segment": len(self.segments),
            "inactive_split": len(split),
            "inactive_split_bytes": sum(piece.size for piece in split),
        }
