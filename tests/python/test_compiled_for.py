"""The extension that goes with the installed torch is the one that `polyrank._C` is."""

import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import polyrank
import pytest
import torch
from polyrank import compiled_for


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package compiled for three versions, one of them for another interpreter."""
    for minor, suffix in (
        ("2.9", EXTENSION_SUFFIXES[0]),
        ("2.13", EXTENSION_SUFFIXES[0]),
        ("2.8", ".cpython-27-x86_64-linux-gnu.so"),
    ):
        folder = tmp_path / "compiled" / f"torch-{minor}"
        folder.mkdir(parents=True)
        (folder / f"_C{suffix}").touch()
    return tmp_path


@pytest.mark.parametrize("torch_version", ["2.13.0+cpu", "2.13.1", "2.13.0a0+gitcf30153"])
def test_any_build_of_a_minor_version_finds_its_folder(package: Path, torch_version: str) -> None:
    assert compiled_for.folder(package, torch_version) == package / "compiled" / "torch-2.13"


@pytest.mark.parametrize("torch_version", ["2.8.0", "2.1.3", "2.130.0", "2.16.0.dev20270101", None])
def test_another_torch_is_told_in_one_sentence(package: Path, torch_version: str | None) -> None:
    found = f"torch {torch_version}" if torch_version else "no torch"
    with pytest.raises(ImportError) as error:
        compiled_for.folder(package, torch_version)
    message = str(error.value)
    assert "compiled for torch 2.9 and 2.13 with Python 3" in message
    assert f"but {found} is installed" in message
    assert "\n" not in message


def test_what_is_installed_is_found_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    version = compiled_for.installed_torch()
    assert version == torch.__version__
    monkeypatch.delitem(compiled_for.sys.modules, "torch")
    assert compiled_for.installed_torch() == version


def test_the_extension_is_the_one_for_the_installed_torch() -> None:
    package = Path(polyrank.__file__).parent
    expected = compiled_for.folder(package, torch.__version__)
    assert Path(polyrank._C.__file__).parent == expected


def test_torch_is_not_imported_while_an_extension_is_looked_for() -> None:
    """For that Python holds the lock of all imports: a thread that imports torch would wait for ever."""
    program = (
        "import importlib.util, sys, polyrank\n"
        "assert importlib.util.find_spec('polyrank._C') is not None\n"
        "assert 'torch' not in sys.modules\n"
        "import polyrank._C\n"
        "assert 'torch' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
