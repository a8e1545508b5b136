"""Two logs of DebugMode, as torch 2.14 saves them: the first call at which they differ."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from polyrank.divergence.debug_logs import compare_logs, read_log
from polyrank.errors import UsageError
from torch.utils._debug_mode import DebugMode

FORMAT = "torch.utils._debug_mode.DebugMode.logs"


def told(value: Any) -> dict[str, Any]:
    """As torch writes a value."""
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {"type": kind, "items": [told(item) for item in value]}
    if isinstance(value, dict):
        return {"type": "dict", "items": [[key, told(item)] for key, item in value.items()]}
    if value != value:
        return {"type": "nonfinite_float", "value": "nan"}
    return {"type": "scalar", "value": value}


def call(name: str, gives: Any, takes: Any = None, line: int = 7) -> dict[str, Any]:
    log: dict[str, Any] = {"hash": gives}
    if takes is not None:
        log["input_hash"] = ((*takes, None), {})
    trace = f'  File "/a/train.py", line {line}, in <module>\n    y = x\n'
    return {
        "type": "op",
        "op_name": name,
        "args_str": "t: f32[4]",
        "kwargs_str": "",
        "call_depth": 1,
        "log": told(log),
        "output_str": None,
        "stack_trace": trace,
        "fwd_stack_trace": None,
    }


def saved(file: Path, *calls: dict[str, Any], version: int = 1) -> Path:
    file.write_text(json.dumps({"format": FORMAT, "version": version, "logs": list(calls)}))
    return file


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return tmp_path / "a log"


@pytest.fixture
def b(tmp_path: Path) -> Path:
    return tmp_path / "b log"


def test_equal_logs_are_the_same(a: Path, b: Path) -> None:
    calls = [call("aten::add", 1.5), call("aten::mm", float("nan")), call("aten::sum", [1, 2])]
    compared = compare_logs(saved(a, *calls), saved(b, *calls))
    assert (compared.exit_code, compared.num_hashed) == (0, 3)
    assert "3 of 3 calls have hashes, the same in both" in compared.text()


def test_the_first_call_that_gives_something_else_is_named(a: Path, b: Path) -> None:
    first = [call("aten::add", 1.0), call("aten::mm", 2.0, line=9), call("aten::sum", 5.0)]
    second = [call("aten::add", 1.0), call("aten::mm", 3.0, line=9), call("aten::sum", 6.0)]
    compared = compare_logs(saved(a, *first), saved(b, *second))
    assert compared.exit_code == 113
    parting = compared.partings[0]
    assert (parting.position, parting.call, parting.line) == (
        2,
        "aten::mm(t: f32[4])",
        "train.py:9",
    )
    assert parting.relative == pytest.approx(1 / 3)
    assert "1 more calls differ" in compared.text()


def test_what_takes_the_same_is_told_before_what_takes_what_differs(a: Path, b: Path) -> None:
    def calls(scale: float) -> list[dict[str, Any]]:
        return [
            call("aten::relu", scale, takes=[scale]),  # its input came from outside of the log
            call("aten::dropout", 4.0 * scale, takes=[4.0]),
        ]

    compared = compare_logs(saved(a, *calls(1.0)), saved(b, *calls(2.0)))
    assert compared.partings[0].call.startswith("aten::dropout")
    assert "takes the same, and gives something else" in compared.text()
    assert compared.partings[1].says == "it gives something else, of something else"


def test_other_calls_end_the_comparison(a: Path, b: Path) -> None:
    first = [call("aten::add", 1.0), call("aten::mul", 1.0), call("aten::sum", 1.0)]
    second = [call("aten::add", 1.0), call("aten::div", 1.0), call("aten::sum", 2.0)]
    [parting] = compare_logs(saved(a, *first), saved(b, *second)).partings
    assert parting.says == "the first has aten::mul(t: f32[4]), the other has aten::div(t: f32[4])"
    [parting] = compare_logs(saved(a, *first), saved(b, *first[:2])).partings
    assert (parting.position, parting.says) == (
        3,
        "the first has aten::sum(t: f32[4]), the other ends",
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no json", "can't be read as a log"),
        ("[]", "is no log of DebugMode"),
        ('{"format": "other"}', "is no log of DebugMode"),
        (f'{{"format": "{FORMAT}", "version": 2, "logs": []}}', "version 2; known is 1"),
        (f'{{"format": "{FORMAT}", "version": 1}}', "no whole log"),
        (f'{{"format": "{FORMAT}", "version": 1, "logs": [{{"type": "x"}}]}}', "no whole log"),
        (f'{{"format": "{FORMAT}", "version": 1, "logs": [3]}}', "no whole log"),
    ],
)
def test_what_is_no_log_is_refused(a: Path, text: str, says: str) -> None:
    a.write_text(text)
    with pytest.raises(UsageError, match=says):
        read_log(a)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be read"):
        read_log(tmp_path / "none")


@pytest.mark.skipif(not hasattr(DebugMode, "save_logs"), reason="this torch saves no logs")
def test_what_torch_saves_is_read(a: Path, b: Path) -> None:
    for file, scale in ((a, 1.0), (b, 1.5)):
        torch.manual_seed(0)
        with DebugMode(record_stack_trace=True) as mode:  # noqa: SIM117
            with DebugMode.log_tensor_hashes(hash_inputs=True):
                x = torch.randn(4, 4)
                torch.relu(x).mul(scale).sum()
        DebugMode.save_logs(mode.logs, file)
    [parting] = compare_logs(a, b).partings
    assert "aten::mul" in parting.says


def test_the_command_tells_it(a: Path, b: Path, tmp_path: Path) -> None:
    saved(a, call("aten::add", 1.0))
    saved(b, call("aten::add", 2.0))
    report = tmp_path / "report"
    command = [sys.executable, "-m", "polyrank", "check", "logs"]
    ended = subprocess.run(
        [*command, str(a), str(b), "--json", str(report)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 113, ended.stderr
    assert "1 of 1: aten::add(t: f32[4])" in ended.stderr
    assert json.loads(report.read_text())["partings"][0]["relative"] == 0.5
    ended = subprocess.run([*command, str(a), "none"], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
