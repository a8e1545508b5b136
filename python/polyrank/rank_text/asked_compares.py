"""Comparisons of text that Python would make by itself.

NOTE [Comparisons that are asked]
Where code has compared two texts for equality a few times, Python puts an instruction of its own, which compares letters
and asks `str` for nothing, so that no guard is asked there. From the first lockstep on that doesn't happen to code outside
torch and polyrank, for the life of the process.

Since 3.12 an instruction that a tool of `sys.monitoring` looks at stays as it was compiled. So a tool of ours looks at each
`==` and `!=`: code is prepared as it starts for the first time, or goes on as a generator; what runs already is prepared at
once. A look takes some 0.2 µs. Python 3.11 counts the runs of each code object: the count of code that compares is ended,
of all functions that there are and of code that comes to be (bindings/warm_code.h).
"""

from __future__ import annotations

import dis
import functools
import gc
import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

from polyrank import _C
from polyrank.errors import UsageError
from polyrank.replacing.code_of import IN_POLYRANK, IN_TORCH
from polyrank.replacing.frozen_objects import with_frozen_objects

__all__ = ["keep_comparisons_asked"]

_monitoring: Any = getattr(sys, "monitoring", None)  # not every supported Python has it
# Tools 0 to 2 and 5 are debuggers, coverage, profilers and optimizers by their names.
_FREE_FOR_ALL = (4, 3)
_COMPARISONS = compile("a == b\na != b\nif a == b: c\nif a != b: c", "", "exec")
_OPCODE = dis.opmap["COMPARE_OP"]
_OURS = (IN_TORCH, IN_POLYRANK)


@functools.cache
def keep_comparisons_asked() -> None:
    """From here on each comparison of text for equality asks `str`.

    Raises:
        UsageError: other tools of Python 3.12 have taken all places.
    """
    found = {each.arg for each in dis.get_instructions(_COMPARISONS) if each.opcode == _OPCODE}
    arguments = sorted(argument for argument in found if argument is not None)
    if _monitoring is None:
        _end_counts(arguments)
    else:
        _watch(arguments)


def _running() -> Iterator[FrameType]:
    for innermost in sys._current_frames().values():
        frame: FrameType | None = innermost
        while frame is not None:
            yield frame
            frame = frame.f_back


def _end_counts(arguments: list[int]) -> None:
    compiled: Any = dis  # it knows what stands for what in code that has run
    as_compiled = [compiled._deoptop(each) for each in range(256)]
    notes = bytes(compiled._inline_cache_entries[each] for each in as_compiled)
    compares = [each for each in range(256) if as_compiled[each] == _OPCODE]
    running = [frame.f_code for frame in _running()]
    with with_frozen_objects():
        objects = [*gc.get_objects(), *running]
    _C.keep_compares_asked(_OPCODE, compares, arguments, notes, _OURS, objects)


def _watch(arguments: list[int]) -> None:
    tool = _take_tool()
    events, disable = _monitoring.events, _monitoring.DISABLE
    look = _C.instruction_callback(_OPCODE, arguments, disable)
    _monitoring.register_callback(tool, events.INSTRUCTION, look)
    watch = functools.partial(_monitoring.set_local_events, tool)
    opcode, ours = _OPCODE, _OURS

    # Code starts as the interpreter ends, too, where names of modules are gone.
    def prepare(code: CodeType, _offset: int) -> Any:
        # Caches between instructions are zeros.
        if not code.co_filename.startswith(ours) and opcode in code.co_code[::2]:
            watch(code, events.INSTRUCTION)
        return disable  # it is asked once for each code

    def prepare_thrown_at(code: CodeType, offset: int, _error: BaseException) -> None:
        prepare(code, offset)

    _monitoring.register_callback(tool, events.PY_START, prepare)
    _monitoring.register_callback(tool, events.PY_RESUME, prepare)
    _monitoring.register_callback(tool, events.PY_THROW, prepare_thrown_at)
    _monitoring.set_events(tool, events.PY_START | events.PY_RESUME | events.PY_THROW)
    for frame in _running():
        prepare(frame.f_code, 0)


def _take_tool() -> int:
    for tool in _FREE_FOR_ALL:
        if _monitoring.get_tool(tool) is None:
            _monitoring.use_tool_id(tool, "polyrank")
            return tool
    names = " and ".join(str(_monitoring.get_tool(tool)) for tool in _FREE_FOR_ALL)
    raise UsageError(
        "lockstep looks at comparisons of text as a tool of sys.monitoring, whose places 3 and 4 are taken, by "
        f"{names}. Run the program without one of them, or in the threads world (`polyrank run --world threads`)"
    )
