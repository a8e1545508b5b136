"""clients/: what clients.toml may say, and what an outcome is called beside another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import typer

CLIENTS = Path(__file__).parents[2] / "clients"


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(CLIENTS))


def outcome(world: str, exit_code: int = 0, output: str = "") -> Any:
    from outcome import Outcome, values_in

    return Outcome(world, exit_code, 1.0, output, values_in(output, ""))


def test_the_file_is_read() -> None:
    from client_list import read_clients

    clients = {client.name: client for client in read_clients(CLIENTS / "clients.toml")}
    program = clients["torchtitan"].programs[0]
    assert (program.ranks_in("fake"), program.ranks_in("real")) == (256, 2)
    assert program.command("threads")[-1].startswith("--")
    assert any("outputs/threads" in argument for argument in program.command("threads"))
    for client in clients.values():
        for one in client.programs:
            assert one.module or (CLIENTS / "programs" / one.file).is_file()


@pytest.mark.parametrize("wrong", ["rank = 2", 'stops = { cloud = "no" }', 'reads = "("'])
def test_what_it_can_not_say_is_an_error(tmp_path: Path, wrong: str) -> None:
    from client_list import read_clients

    file = tmp_path / "clients.toml"
    file.write_text(
        f'[[client]]\nname = "a"\nrequirements = []\nprograms = [{{ file = "a.py", {wrong} }}]\n'
    )
    with pytest.raises(typer.BadParameter, match=r"clients\.toml, a: "):
        read_clients(file)


def test_values_are_those_of_the_first_of_gloos_worlds() -> None:
    from client_list import Program
    from outcome import reference_among

    # Processes may print two lines as one.
    gloo = outcome("gloo", output='RES {"rank": 0, "x": 1}RES {"rank": 1, "x": 2}\n')
    ours = outcome(
        "threads", output='[rank1]: RES {"x": 2, "rank": 1}\n[rank0]: RES {"rank": 0, "x": 1}'
    )
    other = outcome("processes", output='RES {"rank": 0, "x": 1}\nRES {"rank": 1, "x": 3}\n')
    program = Program(file="a.py")
    reference = reference_among({"threads": ours, "gloo": gloo})
    assert reference is gloo
    assert ours.word(program, reference) == "same digits"
    assert other.word(program, reference) == "other digits"
    assert not other.is_right(program, reference)
    failed = {"gloo": outcome("gloo", 1), "threads": ours, "real": outcome("real")}
    assert reference_among(failed).world == "real"


def test_a_stop_must_still_be_one() -> None:
    from client_list import Program

    program = Program(file="a.py", stops={"lockstep": "ranks disagree"})
    stopped = outcome("lockstep", 3, "Error: ranks\ndisagree about")
    assert stopped.word(program, None) == "stops"
    assert not outcome("lockstep", 3, "another").is_right(program, None)
    assert not outcome("lockstep").is_right(program, None)


def test_colours_hide_no_values() -> None:
    from outcome import values_in

    lines = "\x1b[31mstep: 2\x1b[32m loss: 1.5\nstep: 1 loss: 2.5\n"
    assert values_in(lines, r"step:\s+(\d+)\s+loss:\s+(\S+)") == ["1 2.5", "2 1.5"]
    assert "outcome" in sys.modules
