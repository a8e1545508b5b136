"""The versions that run, which compiled part goes with them, and whether it loads."""

from __future__ import annotations

import importlib
import platform
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import polyrank
from polyrank import compiled_for
from polyrank.version import __version__

__all__ = ["Versions", "versions", "why_nothing_loads"]


@dataclass(frozen=True)
class Versions:
    """What runs."""

    python: str
    torch: str  # "none": none is installed
    polyrank: str
    compiled_part: (
        str  # the folder of the one that is loaded, below the package; "none": there is none
    )
    compiled_for: list[str]  # minor versions of torch that the package has one for


def versions() -> Versions:
    """Of Python and its packages; none of them is imported."""
    package = Path(str(polyrank.__file__)).parent
    torch = compiled_for.installed_torch()
    try:
        folder = compiled_for.folder(package, torch).relative_to(package).as_posix()
    except ImportError:
        folder = "none"
    free_threaded = " free-threaded" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    return Versions(
        python=f"{platform.python_implementation()} {platform.python_version()}{free_threaded}",
        torch=torch or "none",
        polyrank=__version__,
        compiled_part=folder,
        compiled_for=list(compiled_for.supported(package)),
    )


def why_nothing_loads() -> str | None:
    """Why torch, or the compiled part that goes with it, can't be imported; None: both can."""
    for name in ("torch", compiled_for.EXTENSION):
        try:
            importlib.import_module(name)
        except (ImportError, OSError) as why:
            if isinstance(why, ImportError) and why.name == compiled_for.EXTENSION and not why.path:
                return str(why)
            if isinstance(why, ModuleNotFoundError) and why.name == "torch":
                continue  # what polyrank says of that says more
            return f"{name} does not load: {why}"
    return None
