"""What torch.compile has made, by rank.

NOTE [Compiled functions of ranks]
PyTorch keeps the compiled versions of a function with its code, which ranks may share, and what it has
found to be constant is in them: the rank, for one, or a module's globals. So that no rank calls what was
compiled for another, each has regions of its own: PyTorch can keep versions apart by a number, the
region, which is a switch of the process. That and the other switches of its compiler change hands with
the turn, from the first call of a compiled function on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polyrank import _C

__all__ = ["CompiledRegions"]


class CompiledRegions:
    """The regions of all ranks of one run."""

    def __init__(self, state: _C.ProcessState) -> None:
        self._state = state
        self._region: dict[tuple[int, int], int] = {}  # by rank and the process's region
        self._own: set[int] = set()
        self._are_exchanged = False

    def region(self, rank: int, region: int) -> int:
        """The rank's own one for one of the process; of an own one, to which PyTorch returns, itself."""
        if region in self._own:
            return region
        key = (rank, region)
        if key not in self._region:
            from torch._dynamo import eval_frame

            self._region[key] = next(eval_frame._next_isolate_recompiles_id)
            self._own.add(self._region[key])
        return self._region[key]

    def forget_regions(self, rank: int) -> None:
        """The rank finds nothing compiled from now on; what it runs now ends in its region."""
        for key in [key for key in self._region if key[0] == rank]:
            del self._region[key]

    def exchange_switches(self, set_region: Callable[[int], int]) -> None:
        """From now on let the compiler's switches change hands."""
        if self._are_exchanged:
            return
        self._are_exchanged = True
        from torch._C._dynamo import eval_frame

        switches: tuple[tuple[Callable[[Any], Any], Any], ...] = (
            (set_region, -1),
            (eval_frame.set_fullgraph_compiled_frame_count, -1),
            (eval_frame.set_fullgraph_error_on_nested_compile, False),
            (eval_frame.set_skip_guard_eval_unsafe, False),
        )
        for switch, probe in switches:
            present = switch(probe)
            switch(present)
            self._state.add_switch(switch, present)
