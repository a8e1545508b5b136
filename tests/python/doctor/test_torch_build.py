"""What `polyrank doctor` says of the installed torch."""

import subprocess
import sys

import pytest
import torch
from polyrank.doctor import torch_build as module
from polyrank.doctor.torch_build import torch_build


def test_what_the_torch_lacks_it_lacks() -> None:
    found = torch_build()
    for name in found.operators_lacking:
        namespace, operator = name.split("::")
        assert not hasattr(getattr(torch.ops, namespace), operator)
    assert ("c10d::gather_into_tensor_" in found.operators_lacking) == (
        not hasattr(torch.ops.c10d, "gather_into_tensor_")
    )
    assert "gloo" in found.backends
    assert found.has_virtual_gpus == (not torch.backends.cuda.is_built())


def test_a_torch_that_is_supported_has_no_problem() -> None:
    assert torch_build().problems() == []


def test_without_the_packages_that_torchs_tests_need_nothing_is_a_problem() -> None:
    program = (
        "import sys; sys.modules['expecttest'] = None\n"
        "from polyrank.doctor.torch_build import torch_build\n"
        "print(torch_build().problems())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout == "[]\n", done.stderr + done.stdout


def test_what_is_otherwise_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        module, "differences", lambda rows: ["torch.distributed.get_rank is not there"]
    )
    (problem,) = torch_build().problems()
    assert problem.startswith("torch.distributed.get_rank is not there")
