"""What the installed torch lacks, or has otherwise, is told by name; the page about it is up to date."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from polyrank.replacing import surface
from polyrank.replacing.known_parameters import KNOWN_PARAMETERS
from polyrank.replacing.layers import ALL, VIRTUAL_GPU
from torch.distributed import Reducer

ROOT = Path(__file__).resolve().parents[3]

ENTRIES = {
    "install": "polyrank.install()",
    "lockstep": "polyrank.lockstep(4).__enter__()",
    "a mode": "polyrank.LocalTensorMode(4).__enter__()",
    "fake": "polyrank.fake_world(4).__enter__()",
    "threads": "polyrank.run_ranks(lambda: None, 1)",
}
OTHER_TORCH = """
import sys, warnings, torch, torch.distributed as dist
import torch.distributed._local_tensor as local_tensor
import polyrank
c10d = dist.distributed_c10d
theirs = c10d.{changed}
def other(group, another_parameter): ...
theirs.__code__ = other.__code__
vars(theirs).pop("__wrapped__", None)
del {lacking}
torch.__version__ = "2.99.0"
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    try:
        {entry}
    except AttributeError:
        pass  # what the rest of torch does without the name is its own affair
print([str(one.message) for one in said])
"""
# A name that each entry replaces and that can be gone, and a function that can have other parameters.
LACKING = {
    "install": ("local_tensor.reconcile_args", "get_global_rank"),
    "lockstep": ("c10d.scatter_object_list", "get_group_rank"),
    "a mode": ("c10d.scatter_object_list", "get_group_rank"),
    "fake": ("c10d.scatter_object_list", "get_global_rank"),
    "threads": ("c10d.split_group", "monitored_barrier"),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_another_torch_is_told_by_name_at_any_entry(entry: str) -> None:
    lacking, changed = LACKING[entry]
    program = OTHER_TORCH.format(entry=ENTRIES[entry], lacking=lacking, changed=changed)
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    assert f".{lacking.partition('.')[2]} is not there" in run.stdout
    assert f".{changed} has other parameters: 'another_parameter' is new" in run.stdout
    assert "this is 2.99.0" in run.stdout


def test_a_new_parameter_of_a_class_is_told_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row for world in ALL for row in world.rows]
    in_python = next(row for row in rows if str(row).endswith("_tensor.LocalTensorMode"))
    in_c = next(row for row in rows if str(row) == "torch.distributed.Reducer")

    class LocalTensorMode:
        def __init__(self, ranks: object, eager: bool) -> None: ...

    assert surface.differences([(in_python, LocalTensorMode)]) == [
        f"{in_python} has other parameters: 'eager' is new"
    ]
    assert surface.differences([(in_c, Reducer)]) == []
    known = [
        text for text in surface.known_parameters(in_c) if "lazy_bucket_allocation" not in text
    ]
    monkeypatch.setitem(
        KNOWN_PARAMETERS,
        str(in_c),
        tuple(text.replace("find_unused_parameters: bool = False, ", "") for text in known),
    )
    (told,) = surface.differences([(in_c, Reducer)])
    assert told.startswith(
        f"{in_c} has other parameters: 'find_unused_parameters: bool = False' is new"
    )


def test_another_version_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.98.0+cpu")
    with pytest.warns(UserWarning, match=r"2\.98\.0: all names that are replaced so far are there"):
        surface.warn_of([])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        surface.warn_of([])


def test_known_parameters_are_of_the_rows() -> None:
    names = {
        str(row)
        for world in ALL
        if world is not VIRTUAL_GPU or not torch.backends.cuda.is_built()
        for row in world.rows
        if row.is_of_torch and not row.is_added
    }
    assert names <= set(KNOWN_PARAMETERS)
    if not torch.backends.cuda.is_built():
        assert names == set(KNOWN_PARAMETERS)


def test_the_page_and_the_parameters_are_up_to_date() -> None:
    script = ROOT / "scripts" / "write_torch_surface.py"
    run = subprocess.run(
        [sys.executable, script, "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
