"""What `polyrank doctor` prints, and its exit code."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

from polyrank.doctor.machine import machine
from polyrank.doctor.report import Diagnosis
from polyrank.doctor.self_tests import SelfTest
from polyrank.doctor.torch_build import torch_build
from polyrank.doctor.versions import versions


def diagnosis(*tests: SelfTest) -> Diagnosis:
    return Diagnosis(versions(), machine(), torch_build(), list(tests))


def test_all_is_well() -> None:
    found = diagnosis(SelfTest("threads", 4, passed=True, seconds=1.26, message=""))
    text = found.text()
    assert found.exit_code == 0
    assert text.endswith("\nall is well\n")
    assert "threads  passed  4 ranks  1.3 s" in text
    assert max(map(len, text.splitlines())) < 200


def test_what_is_wrong_comes_last_and_sets_the_exit_code() -> None:
    failed = SelfTest("fake", 4, passed=False, seconds=2.0, message="exit code 1\nboom")
    found = diagnosis(failed)
    found = dataclasses.replace(
        found, torch=dataclasses.replace(found.torch, differs=["torch.x is not there"])
    )
    assert found.exit_code == 1
    assert "\nfake: exit code 1\nboom\n" in found.text()
    assert found.text().splitlines()[-2:] == [
        "problem: torch.x is not there: polyrank was not tried with this",
        "problem: the self-test failed in the world fake",
    ]


def test_the_command_writes_json_too(tmp_path: Path) -> None:
    file = tmp_path / "doctor.json"
    done = subprocess.run(
        [sys.executable, "-m", "polyrank", "doctor", "--no-self-test", "--json", str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("all is well\n")
    document = json.loads(file.read_text())
    assert document["schema_version"] == 1
    assert document["self_tests"] == document["problems"] == []
    assert document["versions"]["torch"] in done.stdout
