"""One wheel holds what was compiled for several torches."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import merge_wheels

WHEEL = (
    "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: cp311-cp311-linux_x86_64\n"
)


def wheel_for(torch: str, folder: Path, version: str = "0.1.0") -> Path:
    content = folder / torch / f"polyrank-{version}"
    files = {
        f"polyrank-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: polyrank\nVersion: {version}\n",
        f"polyrank-{version}.dist-info/WHEEL": WHEEL,
        "polyrank/__init__.py": "",
        f"polyrank/compiled/torch-{torch}/_C.so": torch,
    }
    for name, text in files.items():
        path = content / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    into = folder / torch / "wheel"
    into.mkdir()
    subprocess.run([sys.executable, "-m", "wheel", "pack", "--dest-dir", into, content], check=True)
    (made,) = into.iterdir()
    return made


def test_the_parts_of_all_are_in_one(tmp_path: Path) -> None:
    wheels = [wheel_for(torch, tmp_path) for torch in ("2.13", "2.14")]
    merge_wheels.merge(wheels, tmp_path / "dist")
    (merged,) = (tmp_path / "dist").iterdir()
    assert merged.name == wheels[0].name
    with zipfile.ZipFile(merged) as content:
        for torch in ("2.13", "2.14"):
            name = f"polyrank/compiled/torch-{torch}/_C.so"
            assert content.read(name).decode() == torch
            assert name in content.read("polyrank-0.1.0.dist-info/RECORD").decode()


def test_wheels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    first = wheel_for("2.13", tmp_path)
    with pytest.raises(SystemExit, match=r"two wheels are for torch-2\.13"):
        merge_wheels.merge([first, first], tmp_path / "dist")
    other = wheel_for("2.14", tmp_path, "0.2.0")
    with pytest.raises(SystemExit, match=r"not of one version.*0\.1\.0.*0\.2\.0"):
        merge_wheels.merge([first, other], tmp_path / "dist")
