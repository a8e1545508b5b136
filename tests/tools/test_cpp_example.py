"""examples/cpp, built against an installed copy, does what the Python twins in examples do."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / f"dev{os.environ.get('POLYRANK_VARIANT', '')}"
EXAMPLES = ROOT / "examples"
SWEEP = os.environ.get("POLYRANK_SWEEP") == "1"


def run(*command: str | Path, **variables: str) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build_against_an_installed_copy(source: Path, folder: Path) -> Path:
    """The folder of the built programs. Nearly all of the time goes into PyTorch's headers.

    ccache answers where neither the source nor a header that it includes has changed: with paths
    relative to `folder`, which is another one in each run.
    """
    prefix, build = folder / "prefix", folder / "build"
    run("cmake", "--install", BUILD, "--component", "cpp", "--prefix", prefix)
    shutil.copytree(source, folder / "source")
    run(
        "cmake",
        *("-S", folder / "source", "-B", build, "-G", "Ninja"),
        f"-DCMAKE_PREFIX_PATH={prefix}",
        f"-DLibtorch_ROOT={Path(torch.__file__).parent}",
        f"-DCMAKE_CXX_COMPILER_LAUNCHER={shutil.which('ccache') or ''}",
    )
    sloppiness = "include_file_mtime,include_file_ctime"  # the copies are new, their content is not
    run("cmake", "--build", build, CCACHE_BASEDIR=str(folder), CCACHE_SLOPPINESS=sloppiness)
    return build


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the examples' programs."""
    if not (BUILD / "libpolyrank.so").exists():
        pytest.skip("needs `make build`")
    return build_against_an_installed_copy(EXAMPLES / "cpp", tmp_path_factory.mktemp("cpp"))


def test_cpp_alone_gives_the_losses_of_the_python_example_bit_for_bit(
    built: Path, tmp_path: Path
) -> None:
    epochs = "20" if SWEEP else "1"
    digits = tmp_path / "digits.bin"
    run(sys.executable, EXAMPLES / "cpp" / "write_digits.py", digits)
    text = run(built / "train_digits", digits, epochs, tmp_path / "cpp.txt")
    python_text = run(
        *(sys.executable, "-m", "polyrank.cli", "run", "--world", "lockstep", "--ranks", "64"),
        *(EXAMPLES / "train_digits.py", "--epochs", epochs),
        *("--losses", tmp_path / "python.json"),
    )
    losses = [float(line) for line in (tmp_path / "cpp.txt").read_text().split()]
    assert len(losses) == 11 * int(epochs)
    assert losses == json.loads((tmp_path / "python.json").read_text())
    assert python_text.startswith(text)


@pytest.mark.parametrize("world", ["lockstep", "threads", "fake"])
def test_any_world_in_cpp_prints_what_its_python_twin_prints(world: str, built: Path) -> None:
    ranks, *rank = ("1000000", "17") if world == "fake" else ("2",)
    cpp = run(built / "any_world", world, ranks, *rank).splitlines()
    python = run(
        *(sys.executable, "-m", "polyrank.cli", "run", "--world", world, "--ranks", ranks),
        *(["--rank", *rank] if rank else []),
        EXAMPLES / "any_world.py",
    )
    assert cpp == [line.partition("]: ")[2] or line for line in python.splitlines()]


def test_any_world_in_cpp_runs_under_torchrun(built: Path) -> None:
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone")
    program = ("--nproc-per-node", "2", "--no-python", built / "any_world")
    assert (
        run(*torchrun, *program, "real").splitlines()
        == run(built / "any_world", "threads", "2").splitlines()
    )
