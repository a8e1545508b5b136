"""`scripts/try_wheel.py` finds what works in a fresh environment, and what does not."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import polyrank
import pytest
import torch
from polyrank import compiled_for

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import try_wheel  # noqa: E402

PACKAGES = ("polyrank", "polyrank_command", "polyrank_pytest")
PYTHON = f"cp{sys.version_info.major}{sys.version_info.minor}"
FILES = {
    "METADATA": "Metadata-Version: 2.1\nName: polyrank\nVersion: 0.1.0\n",
    "WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: {PYTHON}-{PYTHON}-linux_x86_64\n",
    "entry_points.txt": "[console_scripts]\npolyrank = polyrank_command:main\n",
}
DEMO = """
import torch, torch.distributed as dist
dist.init_process_group("gloo")
x = torch.ones(1)
dist.all_reduce(x)
print(f"the sum is {x.item():.0f}")
"""


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """Of this checkout's package, with what is compiled for this torch."""
    package = Path(polyrank.__file__).parent
    compiled = compiled_for.folder(package, torch.__version__)
    content = tmp_path / "polyrank-0.1.0"
    unused = shutil.ignore_patterns("__pycache__", "compiled", ".*")
    for name in PACKAGES:
        shutil.copytree(package.with_name(name), content / name, ignore=unused)
    shutil.copytree(compiled, content / "polyrank" / "compiled" / compiled.name)
    (content / "polyrank-0.1.0.dist-info").mkdir()
    for name, text in FILES.items():
        (content / "polyrank-0.1.0.dist-info" / name).write_text(text)
    command = [sys.executable, "-m", "wheel", "pack", "--dest-dir", tmp_path, content]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (made,) = tmp_path.glob("*.whl")
    return made


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A fresh one, which sees the torch of this one."""
    made = tmp_path / "environment"
    venv.create(made, with_pip=False)
    site_packages = Path(sysconfig.get_path("platlib", vars={"base": made, "platbase": made}))
    for entry in Path(torch.__file__).parents[1].iterdir():
        if "polyrank" not in entry.name:
            (site_packages / entry.name).symlink_to(entry)
    return made


def installing(wheel: Path, environment: Path) -> list[str | Path]:
    pip = [sys.executable, "-m", "pip", "--python", environment / "bin" / "python"]
    return [*pip, "install", "--quiet", "--no-index", "--no-deps", wheel]


def test_a_wheel_that_works(
    wheel: Path,
    environment: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    demo = tmp_path / "demo.py"
    demo.write_text(DEMO)
    monkeypatch.setattr(try_wheel, "DEMO", demo)
    try_wheel.try_in(environment, installing(wheel, environment))
    printed = capsys.readouterr().out
    assert "pip install: " in printed
    assert "(the sum is 64)" in printed
    assert "all is well" in printed
    assert "ImportError: this copy of polyrank is compiled for torch" in printed


def test_a_command_that_fails_is_told() -> None:
    program = "print('it starts', flush=True); raise ValueError"
    with pytest.raises(SystemExit, match="failed with exit code 1"):
        try_wheel.first_line(sys.executable, "-c", program)
    with pytest.raises(SystemExit, match="failed with exit code 1"):
        try_wheel.run(sys.executable, "-c", program)
