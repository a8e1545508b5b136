"""Which of the package's compiled parts goes with the torch that is installed.

libtorch's C++ interface changes from one minor version to the next, so that a compiled part is for one
of them. `compiled/torch-2.13` and its like hold one each. torch itself is not imported here: the command
line has to answer at once.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import MutableSequence
from functools import partial
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from polyrank.replacing.when_imported import CallingLoader

EXTENSION = "polyrank._C"


def installed_torch() -> str | None:
    """The version of the torch that an import finds; None where there is none."""
    if (loaded := sys.modules.get("torch")) is not None:
        return str(loaded.__version__)
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    text = Path(spec.origin).with_name("version.py").read_text()
    found = re.search(r"^__version__ = '(.+)'$", text, re.MULTILINE)
    return found[1] if found is not None else None


def supported(package: Path) -> dict[str, Path]:
    """The minor versions of torch that `package` has an extension for, which this Python can load."""
    folders = {
        folder.name.removeprefix("torch-"): folder
        for folder in package.glob("compiled/torch-*")
        if any((folder / f"_C{suffix}").exists() for suffix in EXTENSION_SUFFIXES)
    }
    return dict(
        sorted(folders.items(), key=lambda item: [int(part) for part in item[0].split(".")])
    )


def extend(search: MutableSequence[str], package: Path) -> None:
    """Let an import of `polyrank._C`, which looks into `search`, find the extension for the torch that is there.

    Throws: ImportError, if there is none. For a command only an import of the extension does: help and
        `polyrank doctor` go without.
    """
    try:
        search.insert(0, str(folder(package, installed_torch())))
    except ImportError as why:
        # runpy has "-m" there while it loads the package of `python -m polyrank`.
        if "polyrank_command" not in sys.modules and sys.argv[:1] != ["-m"]:
            raise
        sys.meta_path.insert(0, _Refusal(str(why)))
    else:
        sys.meta_path.insert(0, _TorchFirst())


class _TorchFirst:
    """A finder of the extension, which loads torch before it: it needs torch's libraries, wherever they are.

    The extension would find them itself only beside its own package: not where torch is the system's,
    and polyrank a user's or in a virtual environment.
    """

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname != EXTENSION:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            # By its loader and not here, where Python holds the lock of all imports: another thread that imports
            # torch needs that.
            spec.loader = CallingLoader(
                spec.loader, before=partial(importlib.import_module, "torch")
            )
        return spec


class _Refusal:
    """A finder, as sys.meta_path has them, that says to whoever imports the extension why there is none."""

    def __init__(self, why: str) -> None:
        self._why = why

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        if fullname == EXTENSION:
            raise ImportError(self._why, name=EXTENSION)


def folder(package: Path, torch: str | None) -> Path:
    """The folder of the extension for the version `torch`.

    Throws: ImportError, if there is none, with one sentence that says for which there is one.
    """
    folders = supported(package)
    minor = ".".join((torch or "").split(".")[:2])
    if minor in folders:
        return folders[minor]
    python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    there_is = (
        f"compiled for torch {' and '.join(folders)}" if folders else "not compiled for any torch"
    )
    raise ImportError(
        f"this copy of polyrank is {there_is} with {python}, "
        f"but {f'torch {torch}' if torch else 'no torch'} is installed: install one of these, or build "
        "polyrank for the torch that is there with `pip install --no-build-isolation` of its sources "
        "(in a checkout: `make build`)",
        name=EXTENSION,
    )
