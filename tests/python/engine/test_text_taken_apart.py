"""What takes text of numbers that differ between ranks apart gives what each rank's text gives."""

from __future__ import annotations

import codecs
import csv
import os
import pathlib
import re
import shlex
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import DivergenceError
from polyrank.numbers.rank_dependent_numbers import number_on_rank
from polyrank.rank_text.marked import text_on_ranks

WORLD_SIZE = 12  # so that texts differ in length


@pytest.fixture
def rank() -> Iterator[Any]:
    """The rank of a world."""
    with polyrank.lockstep(WORLD_SIZE):
        yield dist.get_rank()


Use = Callable[[str], Any]

# Each of `f"layers.{rank}.weight"`, the rank's text alone; what each rank gets.
SAME_FOR_ALL: dict[str, Use] = {
    "startswith": lambda text: text.startswith("layers."),
    "startswith some": lambda text: text.startswith(("layer", "norm")),
    "endswith": lambda text: text.endswith(".weight"),
    "not": lambda text: text.endswith(".bias"),
    "find": lambda text: text.find("."),
    "index": lambda text: text.index("layers"),
    "count": lambda text: text.count("."),
    "an index": lambda text: text[0],
    "a slice": lambda text: text[:6],
    "from the end": lambda text: text[-6:],
    "a part": lambda text: "weight" in text,
    "isidentifier": lambda text: text.isidentifier(),
    "true": bool,
    "match": lambda text: re.match(r"layers", text).span(),  # type: ignore[union-attr]
    "no match": lambda text: re.search(r"bias", text),
    "compiled": lambda text: re.compile("[a-z]+").match(text).group(),  # type: ignore[union-attr]
    "split": lambda text: text.split(".")[0],
    "split from the right": lambda text: text.rsplit(".", 1)[1],
    "partition": lambda text: text.partition(".")[0],
    "by a pattern": lambda text: re.split(r"\.", text)[2],
    "findall": lambda text: len(re.findall(r"\.", text)),
    "finditer": lambda text: len(list(re.finditer("layers", text))),
    "removed": lambda text: re.sub(r"\d+", "N", text),
    "unknown": lambda text: text.split("/")[1:],
    "digits": lambda text: text.split(".")[1].isdigit(),
}


@pytest.mark.parametrize("how", SAME_FOR_ALL)
def test_what_is_the_same_for_all_ranks_is_given(how: str, rank: Any) -> None:
    use = SAME_FOR_ALL[how]
    of_each = [use(f"layers.{each}.weight") for each in range(WORLD_SIZE)]
    assert of_each == of_each[:1] * WORLD_SIZE
    assert use(f"layers.{rank}.weight") == of_each[0]


TEXTS: dict[str, Use] = {
    "split": lambda text: text.split("."),
    "rpartition": lambda text: text.rpartition("."),
    "replace": lambda text: text.replace("layers", "blocks"),
    "strip": lambda text: f" {text}\n".strip(),
    "removeprefix": lambda text: text.removeprefix("layers."),
    "removesuffix": lambda text: text.removesuffix(".weight"),
    "sub": lambda text: re.sub("weight|bias", "any", text),
    "upper": lambda text: text.upper(),
    "a slice": lambda text: text[3:],
    "of a path": lambda text: os.path.splitext(text),  # noqa: PTH122
    "of a Path": lambda text: pathlib.PurePath("a", text).name,
    "lines": lambda text: f"{text}\n{text}".splitlines(),
    "words": lambda text: f"a {text} b".split(),
    "letters of its markers": lambda text: text.split("o"),
    "two numbers": lambda text: f"{text}-{text}".split("-"),
    "digits": lambda text: re.compile(r"\d+").findall(text),
    "what is no digit": lambda text: re.sub(r"\D", "", text),
    "by words": lambda text: re.findall(r"\w+", text),
    "zfill": lambda text: text.zfill(16),
    "ljust": lambda text: text.ljust(17),
    "rjust": lambda text: text.rjust(17, "."),
    "center": lambda text: text.center(20),
    "a width": lambda text: f"{text:>17}",
    "tabs": lambda text: f"{text}\tb".expandtabs(17),
}


@pytest.mark.parametrize("how", TEXTS)
def test_text_that_is_left_is_each_ranks(how: str, rank: Any) -> None:
    def on_ranks(result: Any) -> list[Any]:
        if isinstance(result, str):
            by_rank = text_on_ranks(result, list(range(WORLD_SIZE)))
            return [result] * WORLD_SIZE if by_rank is None else list(by_rank.values())
        return list(zip(*map(on_ranks, result), strict=True))

    use = TEXTS[how]
    expected = [use(f"layers.{each}.weight") for each in range(WORLD_SIZE)]
    result = on_ranks(use(f"layers.{rank}.weight"))
    assert [item if isinstance(item, str) else list(item) for item in result] == [
        item if isinstance(item, str) else list(item) for item in expected
    ]


NAMED_NUMBERS: dict[str, Callable[[str], Any]] = {
    "int": int,
    "of a base": lambda text: int(text, 16),
    "by name": lambda text: int(text, base=12),
    "of a part": lambda text: int(f"a:{text} b".split(":")[1].split()[0]),
    "float": lambda text: float(f"{text}.5"),
    "of a list": lambda text: [*map(int, f"{text} {text}1".split())][1],
    "the same for all": lambda text: int(f"{text}"[:0] + "7"),
}


@pytest.mark.parametrize("how", NAMED_NUMBERS)
def test_numbers_that_text_names_are_each_ranks(how: str, rank: Any) -> None:
    number = NAMED_NUMBERS[how](f"{rank}")
    expected = [NAMED_NUMBERS[how](f"{each}") for each in range(WORLD_SIZE)]
    assert [number_on_rank(number, each) for each in range(WORLD_SIZE)] == expected


def test_text_that_is_no_number(rank: Any) -> None:
    with pytest.raises(ValueError, match=r"invalid literal for int.*'rank0'"):
        int(f"rank{rank}")
    with pytest.raises(DivergenceError, match="an error on ranks 10-11, and none on ranks 0-9"):
        int(f"{rank:x}")


def test_letters_of_laid_out_text_count(rank: Any) -> None:
    assert len(f"{rank}".ljust(3)) == 3
    assert len(f"{rank // 6}".rjust(9)) == 9
    with pytest.raises(DivergenceError, match="laid out by `ljust`"):
        f"{rank}, {rank}".ljust(8)


DIFFERENT: dict[str, Use] = {
    "startswith": lambda text: text.startswith("layers.1"),
    "a tuple": lambda text: text.startswith(("layers.1", "layers.2")),
    "of another": lambda text: "layers.3.weight".startswith(text[:-7]),
    "endswith": lambda text: text.endswith("1.weight"),
    "find": lambda text: text.find("weight"),
    "index of what few have": lambda text: f"{text}7".index("7"),
    "count": lambda text: text.count("1"),
    "length": len,
    "an index": lambda text: text[7],
    "letters": list,
    "for": lambda text: [letter for letter in text],  # noqa: C416
    "set": set,
    "join": lambda text: [*map(ord, text)],
    "replace": lambda text: text.replace("1", "2"),
    "translate": lambda text: text.translate({ord("1"): "x"}),
    "strip": lambda text: text[:8].strip("0"),
    "a part": lambda text: "7" in text,
    "match": lambda text: re.match(r"layers\.(\d+)", text),
    "what few match": lambda text: re.search(r"1", text),
    "finditer": lambda text: list(re.finditer(r"\d+", text)),
    "sub by a function": lambda text: re.sub(r"\d", lambda found: "x", text),
    "bytes": lambda text: bytes(text, "utf-8"),
    "bytearray": lambda text: bytearray(text, "utf-8"),
    "codecs": lambda text: codecs.encode(text, "utf-8"),
    "a name's uuid": lambda text: uuid.uuid5(uuid.NAMESPACE_DNS, text),
    "a part of a path": lambda text: pathlib.Path(text).suffixes == [".7", ".weight"],
    "a query": lambda text: urllib.parse.urlencode({"name": text}),
    "sorted": lambda text: sorted([text, "layers.7.weight", "layers.5.weight"]),
    "sorted in place": lambda text: [text, "layers.7.weight"].sort(),
    "rows of a table": lambda text: [row[0] == "layers.7.weight" for row in csv.reader([text])],
}


@pytest.mark.parametrize("how", DIFFERENT)
def test_what_differs_between_ranks_is_refused(how: str, rank: Any) -> None:
    of_each = [DIFFERENT[how](f"layers.{each}.weight") for each in range(WORLD_SIZE) if each == 7]
    assert of_each
    with pytest.raises(DivergenceError, match="One program runs for all ranks"):
        DIFFERENT[how](f"layers.{rank}.weight")


def test_letters_and_sorted_texts_are_each_ranks() -> None:
    with polyrank.lockstep(4):
        rank = dist.get_rank()
        for letters in (list(f"a{rank}b"), [*f"a{rank}b"], [each for each in f"a{rank}b"]):  # noqa: C416
            assert [text_on_ranks(letter, [0, 3]) for letter in letters] == [
                None,
                {0: "0", 3: "3"},
                None,
            ]
        texts = [f"b{rank}", f"a{rank}", "c"]
        expected = [f"a{rank}", f"b{rank}", "c"]
        assert sorted(texts) == expected
        texts.sort(reverse=True)
        assert texts == expected[::-1]


NUMBERS: dict[str, Use] = {
    "startswith": lambda text: text.startswith("1"),
    "a part": lambda text: "7" in text,
    "length": len,
    "an index": lambda text: text[0],
    "letters": list,
    "encoded": lambda text: text.encode(),
    "part of another": lambda text: text in "0123456789",
}


@pytest.mark.parametrize("how", NUMBERS)
def test_the_text_of_a_number_alone_is_refused_too(how: str, rank: Any) -> None:
    with pytest.raises(DivergenceError, match="One program runs for all ranks"):
        NUMBERS[how](str(rank))


def test_digits_are_digits_on_all_ranks(rank: Any) -> None:
    assert str(rank).isdigit()
    assert f"{rank}".isnumeric()
    assert not f"-{rank}".isdigit()


def test_errors_are_those_of_one_rank(rank: Any) -> None:
    with pytest.raises(ValueError, match="substring not found"):
        f"rank {rank}".index("x")
    with pytest.raises(TypeError):
        f"rank {rank}".startswith(1)  # type: ignore[arg-type]


def test_text_of_one_length_has_that_length() -> None:
    with polyrank.lockstep(4):
        assert len(f"rank {dist.get_rank()}") == 6
        assert len(str(dist.get_rank())) == 1


def test_too_many_values_are_refused() -> None:
    with (
        polyrank.lockstep(100),
        pytest.raises(DivergenceError, match="too many different values"),
    ):
        f"rank {dist.get_rank()}".startswith("rank")


def test_a_million_ranks_of_two_kinds_cost_what_two_do() -> None:
    with polyrank.lockstep(1_000_000):
        name = f"stage{dist.get_rank() // 500_000}"
        assert name.startswith("stage")
        assert name.split("e") == ["stag", name[5:]]


@pytest.mark.parametrize("name", ["register_buffer", "register_parameter", "add_module"])
def test_what_differs_names_no_part_of_a_module(name: str, rank: Any) -> None:
    values = {"register_buffer": torch.ones(1), "add_module": torch.nn.Linear(1, 1)}
    value = values.get(name, torch.nn.Parameter(torch.ones(1)))
    with pytest.raises(DivergenceError, match="taken as a key"):
        getattr(torch.nn.Module(), name)(f"of_{rank}", value)


def test_libraries_lay_text_out(rank: Any) -> None:
    assert shlex.quote(f"rank {rank}") == f"'rank {rank}'"
    module = torch.nn.Sequential(torch.nn.Linear(2, 2))
    module.extra_repr = lambda: f"rank={rank}"  # type: ignore[method-assign]
    assert f"rank={rank}" in repr(module)
    assert f"rank {rank}".ljust(90).startswith("rank")


def test_outside_of_a_mode_text_is_as_ever() -> None:
    methods = [str.split, re.Pattern.match]
    with polyrank.lockstep(3):
        text = f"rank {dist.get_rank()}"
        assert text.split()[0] == "rank"  # noqa: PLC0207
    assert len(text) == len("rank LocalIntNode({0: 0, 1: 1, 2: 2})")
    assert text.split()[1] == "LocalIntNode({0:"
    assert methods == [str.split, re.Pattern.match]
