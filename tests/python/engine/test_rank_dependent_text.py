"""Text of numbers that differ between ranks: it is shown, and it names nothing."""
# ruff: noqa: PTH103, PTH104, PTH123, SIM115

from __future__ import annotations

import json
import logging
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
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
    "aligned": (lambda r: str(r).ljust(34) + "|", f"{INT}  |"),
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
        assert "…, 99: 0099}, 100 cohorts)" in "".join([f"{dist.get_rank():04d}"])


def test_a_wrong_format_is_the_error_that_one_number_gives(rank: torch.SymInt) -> None:
    with pytest.raises(ValueError, match="Unknown format code"):
        f"{rank:zz}"


NAMED: dict[str, Callable[[str], object]] = {
    "open": lambda name: open(name, "w"),
    "open in bytes": lambda name: open(name.encode(), "wb"),
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
    "text as digits": lambda r: str(r).isdigit(),
    "json": lambda r: json.dumps({"rank": r}),
    "json, indented": lambda r: json.dumps({"rank": r / 2}, indent=1),
    "PerRank": lambda r: {polyrank.PerRank({0: "a", 1: "b", 2: "c"}): 1},
}


@pytest.mark.parametrize("how", KEYS)
def test_what_differs_is_no_key(how: str, rank: torch.SymInt) -> None:
    with pytest.raises(DivergenceError, match="threads world"):
        KEYS[how](rank)


def test_text_of_ranks_goes_through_no_object_collective(rank: torch.SymInt) -> None:
    gathered = [None] * 3
    for value in (str(rank), f"host{rank}", {"name": f"host{rank}"}):
        with pytest.raises(DivergenceError, match="text of a number that differs"):
            dist.all_gather_object(gathered, value)
    dist.all_gather_object(gathered, {"host": rank})
    assert gathered == [{"host": 0}, {"host": 1}, {"host": 2}]
