"""examples/cpp, built against an installed copy, trains as examples/train_digits.py does."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "dev"
SWEEP = os.environ.get("POLYRANK_SWEEP") == "1"


def run(*command: str | Path) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.skipif(not (BUILD / "libpolyrank.so").exists(), reason="needs `make build`")
def test_cpp_alone_gives_the_losses_of_the_python_example_bit_for_bit(tmp_path: Path) -> None:
    epochs = "20" if SWEEP else "1"
    prefix, build = tmp_path / "prefix", tmp_path / "build"
    run("cmake", "--install", BUILD, "--component", "cpp", "--prefix", prefix)
    shutil.copytree(ROOT / "examples" / "cpp", tmp_path / "source")
    run(
        "cmake",
        *("-S", tmp_path / "source", "-B", build, "-G", "Ninja"),
        f"-DCMAKE_PREFIX_PATH={prefix}",
        f"-DLibtorch_ROOT={Path(torch.__file__).parent}",
    )
    run("cmake", "--build", build)
    digits = tmp_path / "digits.bin"
    run(sys.executable, ROOT / "examples" / "cpp" / "write_digits.py", digits)
    text = run(build / "train_digits", digits, epochs, tmp_path / "cpp.txt")
    python_text = run(
        *(sys.executable, "-m", "polyrank.cli", "run", "--world", "lockstep", "--ranks", "64"),
        *(ROOT / "examples" / "train_digits.py", "--epochs", epochs),
        *("--losses", tmp_path / "python.json"),
    )
    losses = [float(line) for line in (tmp_path / "cpp.txt").read_text().split()]
    assert len(losses) == 11 * int(epochs)
    assert losses == json.loads((tmp_path / "python.json").read_text())
    assert python_text.startswith(text)
