"""Numbers that differ between ranks, as text: what may be read by people, and what names something.

`print(f"rank {rank}")` shows all ranks' values. Where such text names a file, a variable of the
environment or a command, one name would stand for all ranks: an error. That the text came from such a
number is seen by its form, which holds through formatting, joining and paths.
"""

from __future__ import annotations

import functools
import json
import operator
import os
import random
import re
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch

from polyrank import _C
from polyrank.errors import DivergenceError
from polyrank.rank_dependent_numbers import is_rank_dependent_number
from polyrank.replacing.row import Row, with_original

__all__ = [
    "ROWS",
    "guard",
    "is_rank_dependent_text",
    "refuse_as_name",
    "refuse_in_bytes",
    "text_on_ranks",
    "watch_names",
]

# In any case: `f"step_{rank}".upper()` is such a text.
_IN_TEXT = re.compile(
    r"Local(?:Int|Float|Bool)Node\(\{[^}]*\}[^)]*\)|PerRank\(ranks? .*\)", re.IGNORECASE
)
_ENTRY = re.compile(r"([\d,-]+): ([^,}]*)")
_IN_BYTES = re.compile(_IN_TEXT.pattern.encode(), re.IGNORECASE)
_MOST_COHORTS = 16  # in a text; as local_number_text.cc
_FIRST_COHORTS = 6

_REMEDY = (
    "One program runs for all ranks. Take a name that is the same on all ranks (a LocalTensor holds "
    "every rank's values, and torch.distributed.checkpoint writes the files of each rank), or run the "
    "program in the threads world (`polyrank run --world threads`)."
)


def is_rank_dependent_text(text: str) -> bool:
    """Whether a number that differs between ranks was formatted into the text."""
    return _IN_TEXT.search(text) is not None


class RankDependentText(str):
    """The text of a number that differs between ranks: to be shown, and joined with other text.

    As soon as it stands for one text, as a key or where it is compared, ranks would disagree.
    """

    __slots__ = ()

    def _refuse(self, *_: object) -> NoReturn:
        raise DivergenceError(
            f"the text of a number that differs between ranks, {str.__str__(self)}, was compared, or "
            "taken as a key or for a number. One program runs for all ranks, and each would have "
            "another text. Use the number itself (in arithmetic, as a size or an index of a tensor), "
            "or run the program in the threads world (`polyrank run --world threads`)."
        )

    def __add__(self, other: str) -> RankDependentText:
        return RankDependentText(str.__add__(self, other))

    def __radd__(self, other: str) -> RankDependentText:
        return RankDependentText(str.__add__(other, self))

    def __str__(self) -> RankDependentText:
        return self

    def __format__(self, spec: str) -> RankDependentText:
        return RankDependentText(str.__format__(self, spec))

    def __reduce__(self) -> NoReturn:
        self._refuse()


# What would take it for one text or number; what lays text out goes on.
_REFUSED = (
    *("__hash__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"),
    *("isdigit", "isdecimal", "isnumeric", "isalnum", "isalpha", "encode"),
    *("startswith", "endswith", "replace", "translate", "zfill"),
)
for _name in _REFUSED:
    setattr(RankDependentText, _name, RankDependentText._refuse)


# --- Text that was joined from it ---------------------------------------------------------------


def _is_of_program(frame: FrameType) -> bool:
    """Whether the code is the program's, or of a library that knows PyTorch (a trainer).

    Other libraries lay text out and show it, which takes all ranks' values.
    """
    file = frame.f_code.co_filename
    if file.startswith(_LIBRARIES):
        return False
    return "site-packages" not in file or "torch" in frame.f_globals


_LIBRARIES = (
    *(f"{sysconfig.get_path('stdlib')}/", f"{Path(__file__).parent}/"),
    *(f"{Path(_C.__file__).parent}/", f"{Path(torch.__file__).parent}/", "<frozen "),
)
_showing = threading.local()  # .depth: the thread shows text that C code keeps as a key


def guard(text: str, other: str | None, is_part: bool) -> None:
    """Refuse text of a number that differs where the program takes it as a key, or compares it.

    Args:
        text: What has the marker of such a number in it, or is compared with what has.
        other: What it is compared with, or searched for; None where it is hashed.
        is_part: It is searched.

    Raises:
        DivergenceError: ranks would not agree.
    """
    if not _is_of_program(sys._getframe(1)) or vars(_showing).get("depth"):
        return
    if other is None:
        if is_rank_dependent_text(text):
            _refuse_text(text, "was taken as a key")
        return
    is_own, is_other = map(is_rank_dependent_text, (text, other))
    if is_own and (is_other or is_part):
        ranks = list(_values_in(next(_IN_TEXT.finditer(text))[0]))
        own = text_on_ranks(text, ranks) or {}
        others = text_on_ranks(other, ranks) or dict.fromkeys(ranks, other)
        holds = operator.contains if is_part else operator.eq
        if {holds(own[rank], others[rank]) for rank in ranks} != {holds(text, other)}:
            _refuse_text(text, "was searched" if is_part else "was compared")
    elif (is_own or is_other) and text and other:
        _refuse_text(text if is_own else other, "was compared")


def _refuse_text(text: str, what: str) -> NoReturn:
    raise DivergenceError(
        f"text that has a number in it that differs between ranks, {text}, {what}. One program runs for "
        "all ranks, and each would have another text. Use the number itself (in arithmetic, as a size or "
        "an index of a tensor), polyrank.PerRank for each rank's object, or run the program in the "
        "threads world (`polyrank run --world threads`)."
    )


def _encode(original: Callable[..., bytes], text: str, *args: Any, **options: Any) -> bytes:
    """`str.encode`: for seeds, checks and hashes, which would be the same on all ranks."""
    if "({" in text and is_rank_dependent_text(text):
        frame = sys._getframe(2)  # beyond the function that with_original() makes
        if _is_of_program(frame) or frame.f_code.co_filename == random.__file__:
            _refuse_text(text, "was encoded")
    return original(text, *args, **options)


def _wrap_warn(original: Callable[..., None]) -> Callable[..., None]:
    """`warnings.warn`, which keeps a warning's text as a key."""

    @functools.wraps(original)
    def warn(
        message: Any, category: Any = None, stacklevel: int = 1, source: Any = None, **more: Any
    ) -> None:
        before = vars(_showing).get("depth", 0)
        _showing.depth = before + 1
        try:
            original(message, category, stacklevel + 1, source, **more)
        finally:
            _showing.depth = before

    return warn


# --- Methods of torch.SymInt and its kin --------------------------------------------------------


def _text(number: Any, write: Callable[[Any], str]) -> RankDependentText:
    """As C++ writes a number, with the values as `write` says."""
    values = number.node._local_ints
    cohorts = _C.common_cohorts([number], _C.RankSet(list(values)))
    parts = [f"{cohort}: {write(values[next(iter(cohort))])}" for cohort in cohorts]
    tail = ""
    if len(parts) > _MOST_COHORTS:
        tail = f", {len(parts)} cohorts"
        parts[_FIRST_COHORTS:-1] = ["…"]
    return RankDependentText(f"{type(number.node).__name__}({{{', '.join(parts)}}}{tail})")


def _repr(original: Callable[[Any], str], number: Any) -> str:
    text = original(number)
    return RankDependentText(text) if _IN_TEXT.fullmatch(text) else text


def _format(original: Callable[[Any, str], str], number: Any, spec: str) -> str:
    if not is_rank_dependent_number(number):
        return original(number, spec)
    return _text(number, lambda value: format(value, spec)) if spec else str(number)


def _hash(original: Callable[[Any], int], number: Any) -> int:
    if not is_rank_dependent_number(number):
        return original(number)
    raise DivergenceError(
        f"a number that differs between ranks, {number}, was taken as a key of a dict, a set or a cache. "
        "One program runs for all ranks, which would take different entries. Keep what differs in a "
        "tensor (`table[rank]` of a tensor of one row a rank, or polyrank.rank_map), or run the program "
        "in the threads world (`polyrank run --world threads`)."
    )


_NUMBER_SPEC = re.compile(r"%[-+ #0]*[\d*]*(?:\.[\d*]+)?[diouxXeEfFgG]")


def _log_message(original: Callable[[Any], str], record: Any) -> str:
    """A message of `logging` whose text has %d for a number that differs."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    if not any(is_rank_dependent_number(value) for value in arguments):
        return original(record)
    return _NUMBER_SPEC.sub("%s", str(record.msg)) % arguments


def _to_json(original: Callable[..., Any], encoder: json.JSONEncoder, value: Any) -> Any:
    if is_rank_dependent_number(value):
        raise DivergenceError(
            f"JSON has no form for a number that differs between ranks, {value}. Write its text, "
            'f"{value}", which shows all ranks\' values, keep it in a tensor, or run the program in '
            "the threads world (`polyrank run --world threads`)."
        )
    return original(encoder, value)


# --- What each rank would read ------------------------------------------------------------------


def text_on_ranks(text: str | bytes, ranks: list[int]) -> dict[int, Any] | None:
    """The text on each rank, which has its own number in it; None if there is none in it.

    Raises:
        DivergenceError: the values are too many to be named in it.
    """
    if isinstance(text, bytes):
        found = text_on_ranks(text.decode(errors="surrogateescape"), ranks)
        if found is None:
            return None
        return {rank: own.encode(errors="surrogateescape") for rank, own in found.items()}
    pieces = _IN_TEXT.split(str.__str__(text))
    if len(pieces) == 1:
        return None
    numbers = [_values_in(found[0]) for found in _IN_TEXT.finditer(str.__str__(text))]
    by_rank = {}
    for rank in ranks:
        own = [pieces[0]]
        for values, piece in zip(numbers, pieces[1:], strict=True):
            own += [values[rank], piece]
        by_rank[rank] = "".join(own)
    return by_rank


def _values_in(text: str) -> dict[int, str]:
    """The value of each rank that the text of a number shows."""
    if "…" in text or not text.startswith("Local"):
        raise DivergenceError(
            f"ranks hold too many different values for the text of each to be known: {text}. Exchange the "
            "numbers themselves by collectives, or run the program in the threads world "
            "(`polyrank run --world threads`)."
        )
    values = {}
    for ranks, value in _ENTRY.findall(text):
        for part in ranks.split(","):
            first, _, last = part.partition("-")
            values.update(dict.fromkeys(range(int(first), int(last or first) + 1), value))
    return values


# --- Names --------------------------------------------------------------------------------------

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
        text = os.fsdecode(name) if isinstance(name, bytes | os.PathLike) else name
        if isinstance(text, str) and is_rank_dependent_text(text):
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


_NUMBERS = ("torch:SymInt", "torch:SymFloat", "torch:SymBool")
_TEXT = "writes numbers that differ as if each rank had that text"

ROWS = (
    *(Row(owner, "__repr__", with_original(_repr), _TEXT) for owner in _NUMBERS),
    *(Row(owner, "__format__", with_original(_format), _TEXT, is_added=True) for owner in _NUMBERS),
    *(
        Row(owner, "__hash__", with_original(_hash), "takes one rank's number as the key")
        for owner in _NUMBERS
    ),
    Row("builtins:str", "encode", with_original(_encode), "gives all ranks one seed or hash"),
    Row("warnings", "warn", _wrap_warn, "keeps text that differs as a key"),
    Row("logging:LogRecord", "getMessage", with_original(_log_message), "takes one rank's number"),
    Row("json:JSONEncoder", "default", with_original(_to_json), "does not say what differs"),
    # What takes a name and tells no audit hook; `os.path` and Path ask `os`.
    *(
        Row(owner, name, with_original(_checked), "takes text of differing numbers for a name")
        for owner, name in (
            *(("os", name) for name in ("stat", "lstat", "access", "readlink")),
            ("torch.serialization:_open_zipfile_writer_file", "__init__"),
            ("torch.jit._script:RecursiveScriptModule", "save"),
        )
    ),
)
