"""pip installs polyrank; test_cpp_example.py has the other way, CMake's package files for C++.

It builds the whole release, so it is part of the sweeps.
"""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.skipif(os.environ.get("POLYRANK_SWEEP") != "1", reason="builds all: POLYRANK_SWEEP=1")
def test_pip_installs_the_package_against_the_torch_that_is_there(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    site_packages = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('platlib'))").strip()
    )
    # torch and the tools come from the environment that runs the tests; polyrank must not.
    ours = Path(torch.__file__).parents[1]
    for entry in ours.iterdir():
        if "polyrank" not in entry.name:
            (site_packages / entry.name).symlink_to(entry)
    pip = (sys.executable, "-m", "pip", "--python", python, "install")
    run(*pip, "--no-build-isolation", "--no-deps", "--no-index", ROOT)
    installed = (python, "-I")  # without PYTHONPATH, which may name the checkout
    program = "import polyrank; print(polyrank.__file__)"
    assert Path(run(*installed, "-c", program).strip()).is_relative_to(site_packages)
    test = tmp_path / "test_installed.py"
    test.write_text(
        "import pytest, torch\n"
        "@pytest.mark.ranks(3)\n"
        "def test_the_pytest_plugin_is_there():\n"
        "    x = torch.ones(2)\n"
        "    torch.distributed.all_reduce(x)\n"
        "    assert x.tolist() == [3.0, 3.0]\n"
    )
    run(*installed, "-m", "pytest", "--strict-markers", test, cwd=tmp_path)
    assert "polyrank run" in run(python.with_name("polyrank"), "run", "--help")
