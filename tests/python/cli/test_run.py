"""`polyrank run`: what it runs, what it refuses, and its exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from polyrank.cli import run_command  # noqa: F401  adds its command to `app`
from polyrank.cli.app import app
from torch_builds import needs_cpu_build
from typer.testing import CliRunner


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "polyrank.cli", "run", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def run_script(folder: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text("import os, sys\nimport torch\nimport torch.distributed as dist\n" + text)
    return run("--world", "lockstep", "--ranks", "4", str(script), *arguments)


def test_an_ordinary_script_runs_on_all_ranks(tmp_path: Path) -> None:
    result = run_script(
        tmp_path,
        "dist.init_process_group('nccl')\n"
        "x = torch.ones(2) * (dist.get_rank() + 1)\n"
        "dist.all_reduce(x)\n"
        "print(x.tolist(), os.environ['WORLD_SIZE'], sys.argv[1:], __name__)\n"
        "dist.destroy_process_group()\n",
        "--epochs",
        "2",
    )
    assert result.returncode == 0, result.stderr
    assert "[10.0, 10.0] 4 ['--epochs', '2'] __main__" in result.stdout
    assert "all_reduce" in result.stderr


def test_options_are_typed_as_for_mpirun_and_torchrun(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os\nprint(os.environ['WORLD_SIZE'], os.environ['LOCAL_WORLD_SIZE'])\n"
    )
    for options in (("-n", "4", "--nproc_per_node", "2"), ("-n4", "--nproc-per-node=2")):
        result = run(
            "--world", "lockstep", *options, "--nnodes", "2", "--rank_env", "ask", str(script)
        )
        assert (result.returncode, result.stdout) == (0, "4 2\n"), result.stderr
    assert "--log_dir" not in CliRunner().invoke(app, ["run", "-h"]).stdout


def test_dtensor_runs_in_an_ordinary_script(tmp_path: Path) -> None:
    result = run_script(
        tmp_path,
        "from torch.distributed.device_mesh import init_device_mesh\n"
        "from torch.distributed.tensor import Replicate, Shard, distribute_tensor\n"
        "mesh = init_device_mesh('cpu', (4,))\n"
        "x = torch.arange(10.0)\n"
        "d = distribute_tensor(x, mesh, [Shard(0)])\n"
        "print((d + d).sum().full_tensor().item(), d.to_local().shape[0])\n",
    )
    assert result.returncode == 0, result.stderr
    assert "90.0" in result.stdout


def test_a_trace_file_opens_in_viewers_and_has_the_record(tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    script = tmp_path / "script.py"
    script.write_text(
        "import torch\nimport torch.distributed as dist\n"
        "dist.init_process_group('nccl')\n"
        "dist.all_reduce(torch.ones(2))\n"
        "raise SystemExit(7)\n"
    )
    result = run("--world", "lockstep", "--ranks", "4", "--trace", str(file), str(script))
    assert result.returncode == 7, result.stderr
    document = json.loads(file.read_text())
    (launch,) = document["polyrank"]["launches"]
    assert launch["source"] == {"file": str(script), "line": 4}
    assert [event["name"] for event in document["traceEvents"]] == ["thread_name", "all_reduce"]


def test_a_trace_file_that_cant_be_written_is_refused_first(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("print('ran')\n")
    result = run(
        "--world",
        "lockstep",
        "--ranks",
        "2",
        "--trace",
        str(tmp_path / "no" / "t.json"),
        str(script),
    )
    assert result.returncode == 2 and "ran" not in result.stdout
    assert "can't be written" in result.stderr


INIT = """
from torch.distributed.device_mesh import init_device_mesh
all_reduce = torch.ops._c10d_functional.all_reduce
dist.init_process_group('gloo')
"""


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("sys.exit(7)", 7, ""),
        ("raise KeyError('x')", 1, "KeyError"),
        ("dist.init_process_group()\nif dist.get_rank() == 0: pass", 113, "threads world"),
        ("os.environ['RANK'] == '0'", 113, "was compared"),
        ("dist.init_process_group('gloo', world_size=8, rank=0)", 1, "--ranks 8"),
        ("dist.init_process_group('gloo', rank=9)", 1, "rank 9"),
        (INIT + "dist.new_group([0, 7])", 1, "Rank 7 is out of range"),
        (INIT + "init_device_mesh('cpu', (8,))", 1, "world size 4, but found 8"),
        (INIT + "dist.all_reduce(torch.ones(1), group='nope')", 1, "group nope is not"),
        (INIT + "all_reduce(torch.ones(1), 'sum', 'nope')", 114, 'no process group "nope"'),
        (
            INIT + "dist.all_reduce(torch.ones(dist.get_rank() + 1))",
            114,
            "rank 1: all_reduce(sum) float32[2]",
        ),
        (
            INIT + "x = torch.empty(4, dtype=torch.int32)\n"
            "dist.all_gather_into_tensor(x, torch.ones(1))",
            114,
            "given float32[1] on cpu and int32[4]",
        ),
        (INIT + "torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8)", 115, "quantized"),
    ],
)
def test_exit_codes_and_messages(tmp_path: Path, text: str, code: int, message: str) -> None:
    result = run_script(tmp_path, text)
    assert result.returncode == code, result.stderr
    assert message in result.stderr


def test_the_traceback_starts_in_the_script(tmp_path: Path) -> None:
    result = run_script(tmp_path, "raise KeyError('x')")
    assert "script.py" in result.stderr.split("Traceback")[1].splitlines()[1]


def test_the_traceback_tells_the_cause_too(tmp_path: Path) -> None:
    result = run_script(
        tmp_path, "try:\n  {}['x']\nexcept KeyError as e:\n  raise OSError() from e"
    )
    assert "KeyError: 'x'" in result.stderr
    assert "cli/run.py" not in result.stderr


def test_torch_runs_on_one_thread_unless_the_user_says_how_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "print(torch.get_num_threads(), os.environ['OMP_NUM_THREADS'])"
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert run_script(tmp_path, text).stdout == "1 1\n"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert run_script(tmp_path, text).stdout == "2 2\n"


def run_with_json(folder: Path, text: str, target: str) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(text)
    return run(
        *("--world", "lockstep", "--ranks", "4", "--json", target),
        *(str(folder / "script.py"), "--epochs", "2"),
    )


def test_the_json_file_tells_what_ran(tmp_path: Path) -> None:
    text = (
        "import os, torch, torch.distributed as dist\n"
        "dist.init_process_group()\ndist.all_reduce(torch.ones(2))\nos.chdir('/')\n"
    )
    target = tmp_path / "report.json"
    target.write_text("from an earlier run")
    result = run_with_json(tmp_path, text, os.path.relpath(target))
    assert result.returncode == 0, result.stderr
    report = json.loads(target.read_text())
    assert report.pop("seconds") > 0
    assert report.pop("peak_memory_bytes") > 2**20
    assert report.pop("rank_calls") >= 4 * report.pop("cohort_calls") > 0
    assert report == {
        "schema_version": 1,
        "world": "lockstep",
        "script": str(tmp_path / "script.py"),
        "arguments": ["--epochs", "2"],
        "is_module": False,
        "world_size": 4,
        "num_processes": 1,
        "counts_all_ranks": False,
        "rank": None,
        "local_world_size": 4,
        "exit_code": 0,
        "error": None,
        "collectives": [
            {
                "kind": "all_reduce",
                "group": "world",
                "group_size": 4,
                "num_groups": 1,
                "count": 1,
                "input_bytes": 8,
            }
        ],
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "script.py"]


def test_the_json_file_tells_an_error(tmp_path: Path) -> None:
    result = run_with_json(tmp_path, "raise KeyError('x')", str(tmp_path / "report.json"))
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["exit_code"] == result.returncode == 1
    assert report["error"] == {"type": "KeyError", "message": "'x'"}


@pytest.mark.parametrize("target", ["", "no_such_folder/report.json", "/dev/null"])
def test_an_unwritable_json_file_is_an_error_before_the_script_starts(
    tmp_path: Path, target: str
) -> None:
    result = run_with_json(tmp_path, "print('started')", str(tmp_path / target))
    assert result.returncode == 2
    assert "--json" in result.stderr
    assert result.stdout == ""


def test_a_json_file_that_becomes_unwritable_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    text = f"import os; os.mkdir({str(tmp_path / 'report.json')!r})"
    result = run_with_json(tmp_path, text, str(tmp_path / "report.json"))
    assert result.returncode == 116
    assert "can't be written" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "script.py"]


def test_a_rank_that_the_script_sets_itself_can_be_read(tmp_path: Path) -> None:
    text = "import os\nos.environ['RANK'] = '7'\nprint(os.environ['RANK'])"
    done = run_script(tmp_path, text)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "7"


@needs_cpu_build
def test_seeding_cuda_seeds_the_streams_that_its_tensors_draw_from(tmp_path: Path) -> None:
    result = run_script(
        tmp_path,
        "def drawn(seed, value):\n"
        "    seed(value)\n"
        "    return torch.rand(2, device='cuda')\n"
        "x = drawn(torch.manual_seed, 5)\n"
        "y, z = drawn(torch.cuda.manual_seed, 5), drawn(torch.cuda.manual_seed_all, 5)\n"
        "print(torch.equal(x, y), torch.equal(x, z), torch.equal(x, drawn(torch.manual_seed, 6)))\n",
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "True True False\n"


ONE_RANK = """
from torch.distributed.device_mesh import init_device_mesh
dist.init_process_group("nccl")
mesh = init_device_mesh("cpu", (512, 8), mesh_dim_names=("dp", "tp"))
x = torch.ones(2)
dist.all_reduce(x, group=mesh.get_group("tp"))
dist.barrier(dist.new_group([16, 17], backend="gloo"))
names = ("RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE")
print(dist.get_rank(), mesh.get_coordinate(), x.tolist(), *(os.environ[name] for name in names))
"""


def test_the_fake_world_runs_one_rank(tmp_path: Path) -> None:
    script, target = tmp_path / "script.py", tmp_path / "out.json"
    script.write_text(f"import os\nimport torch\nimport torch.distributed as dist\n{ONE_RANK}")
    ranks = ("--ranks", "4096", "--rank", "17", "--nproc-per-node", "8", "--nnodes", "512")
    result = run("--world", "fake", *ranks, "--json", str(target), str(script))
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "17 (2, 1) [8.0, 8.0] 17 1 2 4096"
    assert "rank 17 of 4,096, alone" in result.stderr
    document = json.loads(target.read_text())
    assert (document["world"], document["rank"], document["world_size"]) == ("fake", 17, 4096)
    assert [(row["kind"], row["group"]) for row in document["collectives"]] == [
        ("all_reduce", "mesh_tp"),
        ("barrier", "ranks 16-17"),
    ]


def test_the_rank_on_a_node(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import torch, torch.distributed as dist\n"
        "dist.init_process_group()\n"
        "x = torch.ones(1) * dist.get_node_local_rank()\n"
        "print([x.on_rank(rank).item() for rank in range(4)])\n"
    )
    result = run("--world", "lockstep", "--nproc-per-node", "2", "--nnodes", "2", str(script))
    assert result.stdout == "[0.0, 1.0, 0.0, 1.0]\n", result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--ranks", "4", "no_such.py"), "no_such.py"),
        (("--ranks", "2", "-m", "no_such_module"), "no_such_module"),
        (("--ranks", "2", "-m", "json.no_such_module"), "json.no_such_module"),
        (("--world", "lockstep", "--ranks", "2", "-m", "no_such_module"), "no_such_module"),
        (("--ranks", "0", "x.py"), "'0' is no number"),
        (("--ranks", "-3", "x.py"), "'-3' is no number"),
        (("--ranks", "many", "x.py"), "'many' is no number"),
        (("--ranks", "2000000", "x.py"), "to 1,048,576"),
        (("--nproc-per-node", "9000", "--nnodes", "9000", "x.py"), "9000 nodes"),
        (("--ranks", "5", "--nnodes", "2", "x.py"), "over 2 nodes"),
        (("--ranks", "5", "--nproc-per-node", "2", "x.py"), "not 5"),
        (("x.py",), "--ranks"),
        (("--world", "moon", "--ranks", "2", "x.py"), "no world 'moon'"),
        (("--world", "lockstp", "--ranks", "2", "x.py"), "did you mean lockstep?"),
        (("--world", "fake", "--ranks", "2", "--rank", "2", __file__), "no rank 2"),
        (
            ("--ranks", "2", "--rank", "1", __file__),
            "is for --world fake; --world processes is each rank a",
        ),
        (("--world", "lockstep", "--ranks", "2", "--seed", "1", __file__), "--world threads"),
        (("--world", "fake", "--ranks", "2", "--log-dir", "x", __file__), "--world threads"),
        (("--ranks", "2", "--seed", "1", __file__), "nothing is drawn unless"),
        (("--ranks", "2", "--schedule", "fair", __file__), "'fair' is not one of in_turn, random"),
        (("--ranks", "2", "--schedules", "0", __file__), "--schedules"),
        (("--ranks", "2", "--schedule", "in_turn", "--schedules", "2", __file__), "random ones"),
        (("--ranks", "2", "--log-dir", "/dev/null/x", __file__), "--log-dir"),
    ],
)
def test_bad_input_is_one_clear_error(arguments: tuple[str, ...], message: str) -> None:
    result = CliRunner().invoke(app, ["run", *arguments])
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.stderr


def test_help_and_version() -> None:
    for name in ("polyrank", "polyrank.cli"):
        command = [sys.executable, "-m", name]
        told = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
        assert told.stdout.startswith("polyrank 0.")
    assert "run" in CliRunner().invoke(app, ["-h"]).stdout
    assert "--world" in CliRunner().invoke(app, ["run", "-h"]).stdout
