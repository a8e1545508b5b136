"""Forecasts of several ranks: what is asked, how they are run, and how their results are read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from polyrank.cli import forecast as _command  # noqa: F401  adds itself to `app`
from polyrank.cli.app import app
from polyrank.errors import UsageError
from polyrank.forecast.process import Ended
from polyrank.forecast.ranks import RankForecast, RanksForecast, parse_ranks, parse_slow
from typer.testing import CliRunner

# Two ranks send to each other in a ring of four; the third needs more memory.
SCRIPT = """
import os, sys
import torch
import torch.distributed as dist

dist.init_process_group("nccl")
rank = dist.get_rank()
groups = [dist.new_group(list(range(first, first + 4))) for first in range(0, 8, 4)]
group = groups[rank // 4]
torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
if rank == 2 and "failing" in sys.argv:
    raise ValueError("no stage")
layer = torch.nn.Linear(8192 if rank == 2 else 4096, 4096, bias=False, device="cuda")
optimizer = torch.optim.SGD(layer.parameters())
message = torch.empty(1000, device="cuda")
for step in range(5):
    if "lonely" not in sys.argv:
        following, before = (dist.get_global_rank(group, (rank + by) % 4) for by in (1, 3))
        sent = dist.isend(message, following, group=group)
        dist.recv(message, before, group=group)
        sent.wait()
    if rank == 1 and "lost" in sys.argv:
        dist.send(message, following, group=group)
    layer(torch.empty(4096, layer.in_features, device="cuda")).sum().backward()
    optimizer.step()
"""


def test_ranks_are_numbers_of_the_world() -> None:
    assert parse_ranks("0", 8) == [0]
    assert parse_ranks("4,0,7", 8) == [4, 0, 7]
    assert parse_ranks("5-7,0,2-2", 8) == [5, 6, 7, 0, 2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not of the form"),
        ("0,", "not of the form"),
        ("3-0", "not of the form"),
        ("0-", "not of the form"),
        ("0-1-2", "not of the form"),
        ("-1", "not of the form"),
        ("1,1", "twice"),
        ("0-3,2", "twice"),
        ("0-8", "has no rank 8"),
        ("0-999999999999", "has no rank 999999999999"),
        ("0,8", "has no rank 8"),
    ],
)
def test_what_are_no_ranks_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_ranks(text, 8)


def test_slow_ranks_are_factors() -> None:
    assert parse_slow(["3=1.3", "0=2"]) == {3: 1.3, 0: 2.0}


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["3"], "not of the form"),
        (["a=2"], "not of the form"),
        (["3=fast"], "not of the form"),
        (["3=0"], "must be positive"),
        (["3=nan"], "must be positive"),
        (["3=1", "3=2"], "twice"),
    ],
)
def test_what_is_no_slow_rank_is_refused(texts: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_slow(texts)


def ended(exit_code: int = 0, *, fits: bool = True, among: tuple[int, ...] = ()) -> Ended:
    document = {"fits": fits, "messages_among": list(among), "memory": {"num_ooms": 0}}
    return Ended(exit_code, document, {}, "Traceback\nValueError: no\n" if exit_code == 1 else "")


def forecast_of(*all_ended: Ended) -> RanksForecast:
    return RanksForecast((), (), True, [RankForecast(i, one) for i, one in enumerate(all_ended)])


def test_the_exit_code_is_of_the_worst() -> None:
    assert forecast_of(ended(), ended()).exit_code == 0
    assert forecast_of(ended(), ended(117, fits=False)).exit_code == 117
    assert forecast_of(ended(117, fits=False), ended(1)).exit_code == 1


def test_stages_are_those_that_messages_go_among() -> None:
    assert forecast_of(ended(among=(0, 4, 8))).stages_left() == [4, 8]
    with pytest.raises(UsageError, match="is no stage"):
        forecast_of(ended()).stages_left()
    with pytest.raises(UsageError, match="among 65 ranks"):
        forecast_of(ended(among=tuple(range(65)))).stages_left()
    with pytest.raises(UsageError, match="rank 0 failed: ValueError: no"):
        forecast_of(ended(1)).stages_left()


def test_a_rank_that_failed_has_no_times_with_others() -> None:
    assert forecast_of(ended(), ended()).recordings() == [{}, {}]
    with pytest.raises(UsageError, match="rank 1 failed"):
        forecast_of(ended(), ended(1)).recordings()


def polyrank(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "polyrank.cli", "forecast", "--ranks", "8", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)


def words_of(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


@pytest.fixture
def script(tmp_path: Path) -> str:
    file = tmp_path / "a script.py"
    file.write_text(SCRIPT)
    return str(file)


def report_of(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text()))


def test_stages_are_found_and_each_has_its_memory(script: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    run = polyrank("--rank", "3", "--stages", "--steps", "2", "--json", str(report), script)
    assert run.returncode == 0, run.stderr
    told = report_of(report)
    assert [one["rank"] for one in told["ranks"]] == [0, 1, 2, 3]
    peaks = [one["forecast"]["memory"]["peak_allocated"] for one in told["ranks"]]
    assert peaks[0] == peaks[1] == peaks[3]
    # Twice as wide: weights, gradients and inputs of 4 bytes each.
    assert peaks[2] - peaks[0] >= 2 * 4 * 4096 * 4096
    assert told["together"] is None
    assert "memory of each rank" in run.stdout


def test_a_wider_rank_holds_the_others_up(script: str, tmp_path: Path) -> None:
    report, trace = tmp_path / "report.json", tmp_path / "a trace.json"
    files = ["--json", str(report), "--trace", str(trace)]
    slow = ["--slow", "2=1.5"]
    run = polyrank("--rank", "0,1,2,3", "--steps", "3", *slow, *files, script)
    assert run.returncode == 0, run.stderr
    told = report_of(report)
    together, as_they_are = told["together"], told["together_without_slow_ranks"]
    by_rank = {one["rank"]: one for one in together["ranks"]}
    wide = by_rank[2]["steps"][-1]
    # It waits for nobody, and 1.5 times as slow that is the step.
    assert together["step_ns"] == pytest.approx(1.5 * as_they_are["step_ns"], rel=0.02)
    assert wide["compute_ns"] == pytest.approx(together["step_ns"], rel=0.02)
    # Rank 3 waits for rank 2; rank 0 for rank 3, which has waited.
    waits = {(idle["cause"], idle["group"]): idle["ns"] for idle in by_rank[3]["steps"][-1]["idle"]}
    assert waits["lateness", "rank 2"] > 0.3 * together["step_ns"]
    assert together["bubble"] > as_they_are["bubble"] > 0.2
    events = json.loads(trace.read_text())["traceEvents"]
    assert {event["pid"] for event in events} == {0, 1, 2, 3}
    assert "rank 2 takes 1.5 times as long" in run.stdout


def test_one_that_fails_is_told(script: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    run = polyrank("--rank", "0,2", "--time", "--json", str(report), script, "failing")
    assert run.returncode == 1
    assert "ValueError: no stage" in run.stderr
    assert "no times of ranks together: rank 2 failed" in run.stderr
    told = report_of(report)
    assert told["together"] is None
    assert [one["fits"] for one in told["ranks"]] == [True, False]


def test_a_message_that_nobody_receives_is_told(script: str) -> None:
    run = polyrank("--rank", "1,2", "--time", "--steps", "1", script, "lost")
    assert run.returncode == 1
    assert "ranks wait for what never comes" in run.stderr
    assert "messages from rank 1 to rank 2" in run.stderr


def test_a_rank_without_messages_has_no_stages(script: str) -> None:
    run = polyrank("--stages", "--steps", "1", script, "lonely")
    assert run.returncode == 2
    assert "sends and receives no messages" in words_of(run.stderr)


def test_a_rank_that_fails_is_told_as_its_script_tells_it(tmp_path: Path) -> None:
    script = tmp_path / "fails.py"
    script.write_text("raise KeyError('first line\\nsecond line')\n")
    run = polyrank("--stages", "--steps", "1", str(script))
    assert run.returncode == 1
    assert "KeyError: 'first line" in run.stderr
    assert "Usage" not in run.stderr
    assert "Traceback" in run.stderr


def test_what_does_not_fit_on_one_rank_does_not_fit(script: str, tmp_path: Path) -> None:
    wide = Path(script).with_name("wide.py")
    wide.write_text(SCRIPT.replace("8192 if rank == 2", "4_000_000 if rank == 2"))
    report = tmp_path / "report.json"
    run = polyrank("--rank", "1,2", "--time", "--json", str(report), str(wide))
    assert run.returncode == 117
    told = report_of(report)
    assert [one["fits"] for one in told["ranks"]] == [True, False]
    assert "rank 2 failed (it ran out of memory)" in run.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rank", "0,8"], "has no rank 8"),
        (["--rank", "0,1", "--stages"], "finds the stages of one rank"),
        (["--slow", "0=1.3"], "needs several ranks"),
        (["--rank", "0,1", "--slow", "2=1.3"], "rank 2 is not among those that run"),
        (["--rank", "0,1", "--slow", "1"], "not of the form RANK=FACTOR"),
        (["--rank", "0,1", "--html", "page.html"], "shows one rank"),
        (["--stages", "--snapshot", "memory.pickle"], "is of one rank"),
    ],
)
def test_wrong_options_are_told(script: str, options: list[str], words: str) -> None:
    # Nothing runs, so this process may be the command.
    run = CliRunner().invoke(app, ["forecast", "--ranks", "8", *options, script])
    assert run.exit_code == 2
    assert words in words_of(run.output)
