"""A package that has nothing compiled for the torch that is there, or whose part does not load."""

import json
import os
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import polyrank
import pytest
import torch


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def another_torch(tmp_path: Path) -> Path:
    """A folder with a torch that no copy of polyrank is compiled for."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("from torch.version import __version__\n")
    (tmp_path / "torch" / "version.py").write_text("__version__ = '2.7.1'\n")
    return tmp_path


def test_an_import_says_which_torch_is_supported(another_torch: Path) -> None:
    done = run(another_torch, "-c", "import polyrank")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    minor = ".".join(torch.__version__.split(".")[:2])
    assert last.startswith("ImportError: this copy of polyrank is compiled for torch ")
    assert minor in last
    assert "but torch 2.7.1 is installed" in last


def test_torch_is_loaded_before_the_compiled_part_which_needs_its_libraries(
    another_torch: Path,
) -> None:
    (another_torch / "torch" / "__init__.py").write_text("raise ImportError('no libraries')\n")
    (another_torch / "torch" / "version.py").write_text(f"__version__ = {torch.__version__!r}\n")
    done = run(another_torch, "-c", "from polyrank import _C")
    assert done.stderr.splitlines()[-1] == "ImportError: no libraries"


def test_doctor_says_it_on_one_page(another_torch: Path) -> None:
    done = run(another_torch, "-m", "polyrank", "doctor", "--json", "doctor.json")
    assert done.returncode == 1
    assert not done.stderr
    assert "torch          2.7.1" in done.stdout
    assert "compiled part  none; there are for torch 2." in done.stdout
    assert done.stdout.splitlines()[-1].startswith("problem: this copy of polyrank is compiled for")
    document = json.loads((another_torch / "doctor.json").read_text())
    assert document["torch"] is None
    assert document["self_tests"] == []
    assert document["exit_code"] == 1
    assert len(document["problems"]) == 1


def test_other_commands_say_it_in_a_sentence(another_torch: Path) -> None:
    (another_torch / "script.py").write_text("print(1)\n")
    done = run(another_torch, "-m", "polyrank", "run", "--ranks", "2", "script.py")
    assert done.returncode == 2
    first, last = done.stderr.splitlines()
    assert first.startswith("Error: this copy of polyrank is compiled for torch ")
    assert last == "`polyrank doctor` says what there is."
    done = run(another_torch, "-m", "polyrank", "--version")
    assert done.stdout == f"polyrank {polyrank.__version__}\n"


def test_doctor_says_why_a_compiled_part_does_not_load(tmp_path: Path) -> None:
    package = Path(polyrank.__file__).parent
    (tmp_path / "polyrank").mkdir()
    for entry in package.iterdir():
        if entry.name != "compiled":
            (tmp_path / "polyrank" / entry.name).symlink_to(entry)
    minor = ".".join(torch.__version__.split(".")[:2])
    part = tmp_path / "polyrank" / "compiled" / f"torch-{minor}"
    part.mkdir(parents=True)
    (part / f"_C{EXTENSION_SUFFIXES[0]}").touch()
    # An editable install finds the checkout's package before any path does.
    without_finders = (
        "import sys; sys.meta_path[:] = [f for f in sys.meta_path if isinstance(f, type)]"
    )
    command = "import polyrank_command; sys.argv[1:] = ['doctor']; polyrank_command.main()"
    done = run(
        tmp_path, "-c", f"{without_finders}; sys.path.append({str(package.parent)!r}); {command}"
    )
    assert done.returncode == 1
    (problem,) = [line for line in done.stdout.splitlines() if line.startswith("problem: ")]
    assert problem.startswith("problem: polyrank._C does not load: ")
    assert str(part) in problem
