"""Builds C++ programs against an installed copy of the dev build, as a user does."""

import os
import shutil
import subprocess
from pathlib import Path

import torch

__all__ = ["BUILD", "ROOT", "build_against_an_installed_copy", "install", "run"]

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / f"dev{os.environ.get('POLYRANK_VARIANT', '')}"


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
    install(prefix)
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


def install(prefix: Path) -> None:
    """Put the library, headers and package files there."""
    run("cmake", "--install", BUILD, "--component", "cpp", "--prefix", prefix)
