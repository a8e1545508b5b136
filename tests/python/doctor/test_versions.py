"""The versions that `polyrank doctor` names."""

from pathlib import Path

import polyrank
import torch
from polyrank.doctor.versions import versions, why_nothing_loads


def test_versions_are_those_that_run() -> None:
    found = versions()
    assert found.torch == torch.__version__
    assert found.polyrank == polyrank.__version__
    minor = ".".join(torch.__version__.split(".")[:2])
    assert minor in found.compiled_for
    assert Path(found.compiled_part).name == f"torch-{minor}"


def test_here_all_loads() -> None:
    assert why_nothing_loads() is None
