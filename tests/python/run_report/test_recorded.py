"""Trace files, as they are read; and what is refused."""

import json
from pathlib import Path

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank.run_report.recorded import num_ranks_in, read_trace, recorded_from_text


def test_ranks_are_counted() -> None:
    assert [num_ranks_in(text) for text in ("3", "0-3", "0-56 step 8", "0,2,5-7")] == [1, 4, 8, 5]
    assert num_ranks_in("0,2,4,… (512 ranks)") == 512


def test_a_trace_is_read_as_it_was_recorded(tmp_path: Path) -> None:
    with polyrank.trace() as trace, polyrank.lockstep(4):
        work = dist.all_reduce(torch.ones(8) * dist.get_rank(), async_op=True)
        assert work is not None
        work.wait()
    file = tmp_path / "trace.json"
    trace.to_json(file)
    (launch,) = read_trace(file).launches
    (theirs,) = trace.launches
    assert (launch.kind, launch.ranks, launch.num_ranks, launch.num_cohorts) == (
        "all_reduce",
        "0-3",
        4,
        4,
    )
    assert launch.wire_bytes == theirs["wire_bytes"] == 2 * 3 * 32 // 4
    assert launch.waited_us == theirs["waited"]["us"]
    assert launch.source.endswith(f"{Path(__file__).name}:{theirs['source']['line']}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no trace"),
        ("[]", "is no trace"),
        ('{"traceEvents": []}', "is no trace"),
        ('{"schema_version": 9, "groups": [], "launches": []}', "schema 9"),
        ('{"schema_version": 1, "groups": [], "launches": [{"group": 0}]}', "is no whole trace"),
    ],
)
def test_what_is_no_trace_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(polyrank.UsageError, match=message):
        read_trace(file)
    with pytest.raises(polyrank.UsageError, match="can't be read"):
        read_trace(tmp_path / "missing.json")


def test_the_trace_of_a_run_has_it_below_a_key() -> None:
    document = {"schema_version": 1, "groups": [], "launches": []}
    assert recorded_from_text(json.dumps({"polyrank": document})).launches == []
