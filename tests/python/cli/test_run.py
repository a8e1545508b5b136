"""`polyrank run`: what it runs, what it refuses, and its exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest


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


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("sys.exit(7)", 7, ""),
        ("raise KeyError('x')", 1, "KeyError"),
        ("dist.init_process_group()\nif dist.get_rank() == 0: pass", 3, "threads world"),
        ("os.environ['RANK']", 3, "get_rank()"),
        ("dist.init_process_group('gloo', world_size=8, rank=0)", 1, "--ranks 8"),
    ],
)
def test_exit_codes_and_messages(tmp_path: Path, text: str, code: int, message: str) -> None:
    result = run_script(tmp_path, text)
    assert result.returncode == code, result.stderr
    assert message in result.stderr


def test_the_traceback_starts_in_the_script(tmp_path: Path) -> None:
    result = run_script(tmp_path, "raise KeyError('x')")
    assert "script.py" in result.stderr.split("Traceback")[1].splitlines()[1]


def test_a_script_for_cuda_runs_on_the_cpu(tmp_path: Path) -> None:
    result = run_script(
        tmp_path,
        "assert torch.cuda.is_available() and torch.cuda.device_count() == 4\n"
        "x = torch.ones(2, device='cuda:1').to('cuda').cuda()\n"
        "print(x.device)\n",
    )
    assert result.returncode == 0, result.stderr
    assert "cpu" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--ranks", "4", "no_such.py"), "no_such.py"),
        (("--ranks", "0", "x.py"), "--ranks"),
        (("--ranks", "-3", "x.py"), "--ranks"),
        (("--ranks", "many", "x.py"), "--ranks"),
        (("--ranks", "5", "--nproc-per-node", "2", "x.py"), "not 5"),
        (("x.py",), "--ranks"),
        (("--world", "moon", "--ranks", "2", "x.py"), "moon"),
    ],
)
def test_bad_input_is_one_clear_error(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert message in result.stderr
