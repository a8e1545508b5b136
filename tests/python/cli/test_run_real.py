"""`polyrank run --world real`: a process for each rank, one table and one trace."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HEAD = (
    "import os, sys\nfrom datetime import timedelta\nimport torch\n"
    "import torch.distributed as dist\nfrom polyrank import dist2\n"
)
INIT = "dist.init_process_group('gloo')\nrank = dist.get_rank()\n"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "polyrank.cli", "run", "--world", "real", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


def run_script(
    folder: Path, text: str, *options: str, ranks: int = 2, arguments: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    script = folder / "program.py"
    script.write_text(HEAD + text)
    return run("--ranks", str(ranks), *options, str(script), *arguments)


def test_a_script_runs_in_processes_and_its_records_are_one(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        INIT + "x = torch.ones(4) * (rank + 1)\n"
        "work = dist.all_reduce(x, async_op=True)\n"
        "work.wait()\n"
        "dist.barrier()\n"
        "if rank == 0:\n"
        "    dist.send(x, dst=1)\n"
        "else:\n"
        "    dist.recv(x, src=0)\n"
        "group = dist2.new_group('gloo', timedelta(seconds=60), 'cpu')\n"
        "group.broadcast(x, 1).wait()\n"
        # In one piece: what processes write at the same time is mixed.
        "said = (x.tolist(), os.getpid(), os.environ['LOCAL_RANK'], sys.argv[1:], __name__)\n"
        "sys.stdout.write(' '.join(map(str, said)) + '\\n')\n",
        *("--json", str(tmp_path / "run.json"), "--trace", str(tmp_path / "trace.json")),
        arguments=("--epochs", "2"),
    )
    assert done.returncode == 0, done.stderr
    lines = sorted(line.split("]", 1)[1].split() for line in done.stdout.splitlines())
    assert len({line[0] for line in lines}) == 2  # two processes
    assert [line[1:] for line in sorted(lines, key=lambda line: line[1])] == [
        [rank, "['--epochs',", "'2']", "__main__"] for rank in ("0", "1")
    ]
    assert "2 ranks, a process each" in done.stderr

    report = json.loads((tmp_path / "run.json").read_text())
    assert (report["world"], report["exit_code"], report["num_processes"]) == ("real", 0, 2)
    counts = {row["kind"]: (row["count"], row["input_bytes"]) for row in report["collectives"]}
    assert counts["all_reduce"] == (2, 32)
    assert (counts["send"][0], counts["recv"][0], counts["broadcast"][0]) == (1, 1, 2)

    trace = json.loads((tmp_path / "trace.json").read_text())
    launches = trace["polyrank"]["launches"]
    assert sorted((launch["kind"], launch["ranks"]) for launch in launches) == [
        ("all_reduce", "0"),
        ("all_reduce", "1"),
        ("barrier", "0"),
        ("barrier", "1"),
        ("broadcast", "0"),
        ("broadcast", "1"),
        ("recv", "1"),
        ("send", "0"),
    ]
    first = next(launch for launch in launches if launch["kind"] == "all_reduce")
    assert (Path(first["source"]["file"]).name, first["source"]["line"]) == ("program.py", 9)
    assert (first["async"], first["waited"]["line"]) == (True, 10)
    waits = {launch["kind"]: launch["waited"] is not None for launch in launches}
    assert waits == {
        "all_reduce": True,
        "barrier": False,
        "broadcast": True,
        "recv": True,
        "send": True,
    }
    assert {trace["polyrank"]["groups"][launch["group"]]["ranks"] for launch in launches} == {"0-1"}
    assert {event["pid"] for event in trace["traceEvents"]} == {0, 1}
    ends = [launch["end_us"] for launch in launches]
    assert ends == sorted(ends)


def test_parts_of_a_group_are_recorded_by_their_ranks(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        "group = dist2.new_group('gloo', timedelta(seconds=60), 'cpu')\n"
        "first = group.rank() // 2 * 2\n"
        "pair = group.split_group([first, first + 1])\n"
        "pair.allreduce([torch.ones(2)]).wait()\n",
        *("--trace", str(tmp_path / "trace.json")),
        ranks=4,
    )
    assert done.returncode == 0, done.stderr
    trace = json.loads((tmp_path / "trace.json").read_text())["polyrank"]
    assert sorted(
        (launch["ranks"], trace["groups"][launch["group"]]["ranks"]) for launch in trace["launches"]
    ) == [("0", "0-1"), ("1", "0-1"), ("2", "2-3"), ("3", "2-3")]


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("sys.exit(7 if rank == 1 else 0)\n", 7, "rank 1 failed first (exit code 7)"),
        ("if rank == 1: raise ValueError('no good')\n", 1, "ValueError: no good"),
        (
            "import polyrank\nif rank == 1: raise polyrank.CollectiveError('wrong')\n",
            114,
            "CollectiveError: wrong",
        ),
        ("if rank == 1: os._exit(9)\ndist.barrier()\n", 9, "rank 1 ended with exit code 9"),
        (
            "if rank == 1: os.kill(os.getpid(), 9)\ndist.barrier()\n",
            1,
            "the process of rank 1 was ended by signal 9",
        ),
    ],
)
def test_the_first_rank_to_fail_gives_the_exit_code(
    text: str, code: int, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "run.json"
    done = run_script(tmp_path, INIT + text, "--json", str(file))
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert json.loads(file.read_text())["exit_code"] == code


@pytest.mark.skipif(torch.cuda.is_available(), reason="there are GPUs, and NCCL")
@pytest.mark.parametrize("name", ["nccl", "cpu:gloo,cuda:nccl"])
def test_groups_called_nccl_need_no_gpu(name: str, tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        f"dist.init_process_group({name!r})\n"
        f"assert dist.get_backend() == {name!r}, dist.get_backend()\n"
        "rank = dist.get_rank()\n"
        "x = torch.arange(4.0) * (rank + 1)\n"
        "dist.all_reduce(x)\n"
        "assert x.tolist() == [0, 3, 6, 9], x\n"
        "dist.barrier()\n"
        "said = [None, None]\n"
        f"pair = dist.new_group([0, 1], backend={name!r})\n"
        "dist.all_gather_object(said, rank, group=pair)\n"
        "assert said == [0, 1], said\n"
        "dist.destroy_process_group()\n",
        *("--json", str(tmp_path / "run.json")),
    )
    assert done.returncode == 0, done.stderr
    assert "polyrank replaces names" not in done.stderr
    report = json.loads((tmp_path / "run.json").read_text())
    counts = {row["kind"]: row["count"] for row in report["collectives"]}
    assert counts["all_reduce"] == 2


def test_a_module_and_its_folder(tmp_path: Path) -> None:
    done = run("--ranks", "1", "-m", "this")
    assert done.returncode == 0, done.stderr
    assert "Beautiful is better than ugly" in done.stdout
    done = run("--ranks", "1", "-m", "no_such_module")
    assert done.returncode == 2
    assert "there is no such module to run" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--ranks", "4", "--nnodes", "2"), "start more nodes with torchrun"),
        (("--ranks", "4", "--rank", "1"), "is for --world fake"),
        (("--ranks", "100000"), "ranks are more than 1,024"),
        (("--ranks", "0"), "is no number from 1"),
    ],
)
def test_wrong_arguments(options: tuple[str, ...], message: str, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text("")
    done = run(*options, str(script))
    assert done.returncode == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
