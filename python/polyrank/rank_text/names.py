"""Text with numbers that differ between ranks, where it names something outside the program."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from polyrank.errors import DivergenceError
from polyrank.rank_text.marked import MARKER, is_rank_dependent_text
from polyrank.rank_text.variables import is_variable
from polyrank.replacing.row import Row, with_original

__all__ = ["ROWS", "refuse_as_name", "refuse_in_bytes", "watch_names"]

_IN_BYTES = re.compile(MARKER.pattern.encode(), re.IGNORECASE)

_REMEDY = (
    "One program runs for all ranks. Take a name that is the same on all ranks (a LocalTensor holds "
    "every rank's values, and torch.distributed.checkpoint writes the files of each rank), or run the "
    "program in the threads world (`polyrank run --world threads`)."
)

# What Python tells an audit hook of where a text names something outside the program.
_NAMING = ("open", "os.", "shutil.", "sqlite3.", "subprocess.", "tempfile.", "glob.", "pathlib.")


def refuse_as_name(names: Iterable[Any]) -> None:
    """Raise an error if one of the names is text of numbers that differ between ranks.

    Raises:
        DivergenceError: it is.
    """
    for name in names:
        if isinstance(name, list | tuple):
            refuse_as_name(name)
            continue
        if isinstance(name, Mapping):
            refuse_as_name((*name, *name.values()))
            continue
        text = os.fsdecode(name) if isinstance(name, bytes | os.PathLike) else name
        # What os.environ itself holds is handed on to other processes, for which it is no number.
        if isinstance(text, str) and is_rank_dependent_text(text) and not is_variable(text):
            raise DivergenceError(
                "a file, a variable of the environment or a command would be named by a number that "
                f"differs between ranks: {text}. {_REMEDY}"
            )


def refuse_in_bytes(pickled: bytes, what: str) -> None:
    """Raise an error if pickled bytes hold text of numbers that differ between ranks.

    Raises:
        DivergenceError: they do.
    """
    found = _IN_BYTES.search(pickled)
    if found:
        raise DivergenceError(
            f"{what}: in it is the text of a number that differs between ranks, {found[0].decode()}, "
            "where each rank would have another text. Hand over the number itself and make the text of "
            "what is received, or run the program in the threads world (`polyrank run --world threads`)."
        )


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event.startswith(_NAMING):
        refuse_as_name(arguments)


def _checked(original: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """A function of `os` that tells no hook, or that opens a file in C++."""
    refuse_as_name((*arguments, *options.values()))
    return original(*arguments, **options)


@functools.cache
def watch_names() -> None:
    """Refuse such names from here on. A hook can't be taken back; it looks at nothing but names."""
    sys.addaudithook(_audit)


# What takes a name and tells no audit hook; `os.path` and Path ask `os`.
ROWS = tuple(
    Row(owner, name, with_original(_checked), "takes text of differing numbers for a name")
    for owner, name in (
        *(("os", name) for name in ("stat", "lstat", "access", "readlink")),
        ("torch.serialization:_open_zipfile_writer_file", "__init__"),
        ("torch.jit._script:RecursiveScriptModule", "save"),
    )
)
