"""examples/cpp, built against an installed copy, does what the Python twins in examples do."""

import json
import os
import sys
from pathlib import Path

import pytest
from tools.installed_cpp import BUILD, ROOT, build_against_an_installed_copy, run

EXAMPLES = ROOT / "examples"
SWEEP = os.environ.get("POLYRANK_SWEEP") == "1"


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
