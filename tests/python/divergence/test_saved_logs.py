"""`polyrank check save-logs`: each rank's log of DebugMode, in torch's format."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from polyrank.divergence.debug_logs import compare_logs, read_log
from polyrank.divergence.saved_logs import document_of
from torch.utils._debug_mode import DebugMode

PROGRAM = """
import torch
import torch.distributed as dist
from torch import nn

dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Linear(4, 2)
x = torch.ones(3, 4)
scale = 1.0 + dist.get_rank()
y = model(x).relu()
z = y * scale
dist.all_reduce(z)
z.sum().backward()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "a program.py"
    file.write_text(PROGRAM)
    return file


def saved(script: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "polyrank", "check", "save-logs", "--ranks", "2"]
    return subprocess.run(
        [*command, "--into", str(folder), *options, str(script)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_rank_has_its_log(script: Path, tmp_path: Path) -> None:
    folder = tmp_path / "logs of it"
    report = tmp_path / "report.json"
    ended = saved(script, folder, "--json", str(report))
    assert ended.returncode == 0, ended.stderr
    files = [folder / "rank_0.json", folder / "rank_1.json"]
    calls = [read_log(file) for file in files]
    assert json.loads(report.read_text())["num_calls"] == [len(of) for of in calls]
    by_name = [{call.name: call for call in reversed(of)} for of in calls]  # the first of a name
    assert {"aten::addmm", "aten::relu", "c10d::allreduce_"} <= set(by_name[0])
    assert by_name[0]["aten::relu"].line == "a program.py:11"
    assert by_name[0]["aten::relu"].outputs == by_name[1]["aten::relu"].outputs
    # What the hashes are: sums of sizes. The second rank's product is twice the first's, and the sum both have is thrice.
    y, z = (by_name[0][name].outputs[0] for name in ("aten::relu", "aten::mul.Tensor"))
    assert y == z
    assert by_name[1]["aten::mul.Tensor"].outputs[0] == pytest.approx(2 * y)
    reduced = [of["c10d::allreduce_"] for of in by_name]
    assert reduced[0].inputs[0] == pytest.approx(y)
    assert reduced[1].inputs[0] == pytest.approx(2 * y)
    # A collective's own hash is of the moment after its launch: what takes its result has that of the sum.
    taken = [of["aten::sum"].inputs[0] for of in by_name]
    assert taken[0] == taken[1] == pytest.approx(3 * y)


def test_two_of_them_are_compared(script: Path, tmp_path: Path) -> None:
    ended = saved(script, tmp_path, "--hashes", "hash_tensor")
    assert ended.returncode == 0, ended.stderr
    compared = compare_logs(tmp_path / "rank_0.json", tmp_path / "rank_1.json")
    assert compared.exit_code == 113
    assert compared.partings[0].call.startswith("aten::mul.Tensor(")
    assert compared.partings[0].line == "a program.py:12"


def test_a_script_that_fails_is_told_and_leaves_its_logs(tmp_path: Path) -> None:
    script = tmp_path / "fails.py"
    script.write_text("import torch\ntorch.ones(2).exp()\nraise ValueError('too bad')\n")
    ended = saved(script, tmp_path)
    assert ended.returncode == 1
    assert "too bad" in ended.stderr
    assert [call.name for call in read_log(tmp_path / "rank_0.json")][-1] == "aten::exp"


def test_a_folder_that_can_not_be_made_is_refused(script: Path) -> None:
    ended = saved(script, script / "below")
    assert ended.returncode == 2
    assert "can't be made" in " ".join(ended.stderr.split())


def logged() -> list[object]:
    with (
        DebugMode(record_stack_trace=True) as mode,
        DebugMode.log_tensor_hashes(["norm", "hash_tensor"], hash_inputs=True),
    ):
        x = torch.tensor([1.0, float("inf")], requires_grad=True)
        torch.split(x, 1)
        (x * 2.0).sum().backward()
    return mode.logs


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    logs = logged()
    file = tmp_path / "log"
    file.write_text(json.dumps(document_of(logs), allow_nan=False))
    calls = read_log(file)
    assert len(calls) == len(logs)
    product = next(call for call in calls if call.name == "aten::mul.Tensor")
    assert product.inputs[0] == float("inf")
    assert {type(hashed) for hashed in product.outputs} == {float, int}


@pytest.mark.skipif(not hasattr(DebugMode, "save_logs"), reason="this torch saves no logs")
def test_it_is_what_torch_writes() -> None:
    logs = logged()
    text = io.StringIO()
    DebugMode.save_logs(logs, text)
    assert json.loads(text.getvalue()) == document_of(logs)
