"""Text of numbers that differ between ranks: it is shown, and it names nothing."""
# ruff: noqa: PTH103, PTH104, PTH123, SIM115

from __future__ import annotations

import json
import logging
import os
import pathlib
import pprint
import random
import shutil
import subprocess
import sys
import tempfile
import textwrap
import warnings
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import DivergenceError

INT = "LocalIntNode({0: 0, 1: 1, 2: 2})"


@pytest.fixture
def rank(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.SymInt]:
    """The rank of a world of 3, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    with polyrank.lockstep(3):
        yield dist.get_rank()  # type: ignore[misc]
    assert [path for path in tmp_path.rglob("*") if path.name != "a"] == []


SHOWN = {
    "str": (str, INT),
    "repr": (repr, INT),
    "f-string": (lambda r: f"rank {r}", f"rank {INT}"),
    "with a width": (lambda r: f"{r:02d}", "LocalIntNode({0: 00, 1: 01, 2: 02})"),
    "of a fraction": (lambda r: f"{r / 2:.2f}", "LocalFloatNode({0: 0.00, 1: 0.50, 2: 1.00})"),
    "of a comparison": (lambda r: f"{r < 1}", "LocalBoolNode({0: True, 1-2: False})"),
    "format": (lambda r: "{:>3}".format(r), "LocalIntNode({0:   0, 1:   1, 2:   2})"),  # noqa: UP032
    "%s": (lambda r: "%s!" % r, f"{INT}!"),  # noqa: UP031
    "added": (lambda r: "a" + str(r) + "b", f"a{INT}b"),
    "joined": (lambda r: "-".join(["a", str(r)]), f"a-{INT}"),
    "in a list": (lambda r: str([r, 5]), f"[{INT}, 5]"),
    "aligned": (lambda r: str(r).ljust(34) + "|", f"{INT}{33 * ' '}|"),
}


@pytest.mark.parametrize("how", SHOWN)
def test_all_ranks_values_are_shown(how: str, rank: torch.SymInt) -> None:
    write, text = SHOWN[how]
    assert "".join([write(rank)]) == text


def test_print_and_logging_show_them(
    rank: torch.SymInt, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    print(rank, f"{rank}")
    logging.getLogger().warning("at %s", rank)
    assert capsys.readouterr().out == f"{INT} {INT}\n"
    assert caplog.messages == [f"at {INT}"]


def test_many_values_are_abbreviated() -> None:
    with polyrank.lockstep(100):
        assert str.__len__(f"{dist.get_rank():04d}") < 200
        joined = "".join([f"{dist.get_rank():04d}"])
    assert "…, 99: 0099}, 100 cohorts)" in joined


def test_a_wrong_format_is_the_error_that_one_number_gives(rank: torch.SymInt) -> None:
    with pytest.raises(ValueError, match="Unknown format code"):
        f"{rank:zz}"


NAMED: dict[str, Callable[[str], object]] = {
    "open": lambda name: open(name, "w"),
    "open in bytes": lambda name: open(os.fsencode(name), "wb"),
    "Path.write_text": lambda name: pathlib.Path(name).write_text(""),
    "Path below a folder": lambda name: (pathlib.Path() / "a" / name).open("w"),
    "torch.save": lambda name: torch.save(torch.ones(1), name),
    "torch.save to a Path": lambda name: torch.save(torch.ones(1), pathlib.Path(name)),
    "torch.load": torch.load,
    "numpy": lambda name: np.save(name, np.ones(1)),
    "FileHandler": logging.FileHandler,
    "makedirs": lambda name: os.makedirs(f"a/{name}"),
    "exists": os.path.exists,
    "isfile": os.path.isfile,
    "Path.exists": lambda name: pathlib.Path(name).exists(),
    "access": lambda name: os.access(name, os.R_OK),
    "listdir": os.listdir,
    "rename": lambda name: os.rename(".", name),
    "remove": os.remove,
    "copy": lambda name: shutil.copy(__file__, name),
    "temporary folder": lambda name: tempfile.mkdtemp(prefix=name, dir="."),
    "environment": lambda name: os.environ.update(OF_A_RANK=name),
    "command": lambda name: subprocess.run([sys.executable, "-c", "", name], check=True),
    "shell": lambda name: os.system(f"true {name}"),
    "environment of a command": lambda name: subprocess.run(["true"], env={"A": name}, check=True),
}


@pytest.mark.parametrize("how", NAMED)
def test_text_of_ranks_names_nothing(how: str, rank: torch.SymInt) -> None:
    with pytest.raises(DivergenceError, match="named by a number that differs between ranks"):
        NAMED[how](f"part_{rank}.txt")


@pytest.mark.parametrize("how", NAMED)
def test_text_of_a_rank_with_a_width_names_nothing(how: str, rank: torch.SymInt) -> None:
    with pytest.raises(DivergenceError, match="named by a number that differs between ranks"):
        NAMED[how](f"part_{rank:03d}.txt")


def test_outside_of_the_mode_it_names_nothing_either(tmp_path: pathlib.Path) -> None:
    with polyrank.lockstep(3):
        name = f"part_{dist.get_rank()}.txt"
    with pytest.raises(DivergenceError, match="named by"):
        (tmp_path / name).write_text("")


def test_what_all_ranks_share_names_files(tmp_path: pathlib.Path) -> None:
    with polyrank.lockstep(3):
        torch.save(torch.ones(1), tmp_path / f"world_{dist.get_world_size()}.pt")
        torch.save(torch.ones(1), tmp_path / f"zero_{dist.get_rank() * 0}.pt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["world_3.pt", "zero_0.pt"]


KEYS: dict[str, Callable[[torch.SymInt], object]] = {
    "dict": lambda r: {0: "a", 1: "b"}[r],
    "get": lambda r: {0: "a"}.get(r, "c"),
    "set": lambda r: r in {0, 1},
    "of a fraction": lambda r: {r / 2: 1},
    "of text": lambda r: {str(r): 1},
    "text compared": lambda r: str(r) == "0",
    "text in a tuple": lambda r: str(r) in ("0", "1"),
    "joined text": lambda r: {f"rank{r}": 1},
    "joined text, looked up": lambda r: {"rank0": 1}.get(f"rank{r}"),
    "joined text in a dict": lambda r: {"rank0": 1}[f"rank{r}"],
    "joined text in a set": lambda r: f"rank{r}" in {"rank0", "rank1"},
    "joined text in a list": lambda r: f"rank{r}" in ["rank0", "rank1"],
    "joined text in a list of names": lambda r: ["rank0", "rank1"].index(f"rank{r}"),
    "joined text compared": lambda r: f"rank{r}" == "rank0",
    "joined text compared from the right": lambda r: "rank0" != f"rank{r}",  # noqa: SIM300
    "part of joined text": lambda r: "1" in f"rank{r}",
    "joined text ordered": lambda r: f"rank{r}" < "rank1",
    "two texts of which some are equal": lambda r: f"rank{r}" == f"rank{r * 2}",
    "of an attribute": lambda r: setattr(Named(), f"rank{r}", 1),
    "hash": lambda r: hash(f"rank{r}"),
    "paths": lambda r: pathlib.Path(f"/x/{r}") == pathlib.Path("/x/0"),
    "a path as a key": lambda r: {pathlib.Path("/x/0"): 1}.get(pathlib.Path(f"/x/{r}")),
    "a tensor's text": lambda r: str(torch.tensor(r)) == "tensor(0)",
    "a tensor's text as a key": lambda r: {f"{torch.tensor(r)}": 1},
    "joined text encoded": lambda r: zlib.crc32(f"rank{r}".encode()),
    "joined text as a seed": lambda r: random.Random(f"rank{r}").random(),
    "json": lambda r: json.dumps({"rank": r}),
    "json, indented": lambda r: json.dumps({"rank": r / 2}, indent=1),
    "PerRank": lambda r: {polyrank.PerRank({0: "a", 1: "b", 2: "c"}): 1},
}


@pytest.mark.parametrize("how", KEYS)
def test_what_differs_is_no_key(how: str, rank: torch.SymInt) -> None:
    with pytest.raises(DivergenceError, match="threads world"):
        KEYS[how](rank)


class Named:
    """What has attributes."""


def test_many_names_are_not_compared_with_one_that_differs(rank: torch.SymInt) -> None:
    name = f"expert{rank}"
    names = [f"expert{i}" for i in range(64)]
    with pytest.raises(DivergenceError, match="was compared"):
        [position for position, each in enumerate(names) if each == name]


def test_what_no_rank_has_is_equal_to_none_of_many(rank: torch.SymInt) -> None:
    name = f"expert{rank}"
    others = [f"expert{i}" for i in range(3, 64)]
    assert [each for each in others if each == name] == []


def test_text_that_differs_is_equal_to_itself_and_not_to_nothing(rank: torch.SymInt) -> None:
    text = f"rank {rank}"
    assert text == f"rank {rank}"
    assert text != ""
    assert f"a{rank}" != f"b{rank}"
    assert "rank" in text
    assert "group" not in text
    assert {"name": text}["name"] == text


def test_what_shows_text_may_keep_it(
    rank: torch.SymInt, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    def warn() -> None:
        warnings.warn(f"of rank {rank}", stacklevel=2)

    with pytest.warns(UserWarning, match=r"of rank LocalIntNode") as told:
        line = sys._getframe().f_lineno + 1
        warn()
    assert (told[0].filename, told[0].lineno) == (__file__, line)
    logging.getLogger(f"rank{rank}").warning("%s of %s", f"text{rank}", rank)
    assert f"text{INT} of {INT}" in caplog.text
    print(textwrap.fill(f"rank {rank}", 200), pprint.pformat([f"rank {rank}"]))
    assert capsys.readouterr().out.count(INT) == 2
    with pytest.raises(ValueError, match="of rank Local"):
        raise ValueError(f"of rank {rank}")


def test_outside_of_a_mode_text_is_as_ever() -> None:
    with polyrank.lockstep(3) as mode, polyrank.LocalTensorMode(mode.ranks):
        text = f"rank{dist.get_rank()}"
    assert {text: 1}[text] == 1
    assert text != "rank0"
    assert text.encode().startswith(b"rank")


def test_text_of_ranks_goes_through_no_object_collective(rank: torch.SymInt) -> None:
    gathered = [None] * 3
    for value in (str(rank), f"host{rank}", {"name": f"host{rank}"}):
        with pytest.raises(DivergenceError, match="text of a number that differs"):
            dist.all_gather_object(gathered, value)
    dist.all_gather_object(gathered, {"host": rank})
    assert gathered == [{"host": 0}, {"host": 1}, {"host": 2}]
