"""What the pictures of a run hold: the numbers of its launches."""

import pytest
from polyrank.run_report import timeline as timeline_module
from polyrank.run_report.cohorts import cohorts_over_time, is_shared
from polyrank.run_report.communication import bytes_by_group, bytes_by_group_and_module, sent
from polyrank.run_report.table import table_text
from polyrank.run_report.timeline import timeline
from run_report.launches import launch

pytest.importorskip("plotly")


def test_the_timeline_has_a_row_for_each_set_of_ranks_and_a_bar_for_each_launch() -> None:
    launches = [
        launch("2", 300.0),
        launch("0-3", 0.0, kind="barrier"),
        launch("0", 150.0, waited_us=900.0),
        launch("2", 500.0),
    ]
    figure = timeline(launches)
    bars = {bar.name: bar for bar in figure.data}
    assert list(figure.layout.yaxis.ticktext) == ["0-3", "0", "2"]
    assert sorted(bars["all_reduce"].y) == [1, 2, 2]
    assert sorted(bars["all_reduce"].base) == pytest.approx([0.15, 0.3, 0.5])
    assert list(bars["all_reduce"].x) == pytest.approx([0.1] * 3)
    assert "train.py:7" in bars["all_reduce"].customdata[0]
    waits = bars["until it is waited for"]
    assert (list(waits.y), list(waits.base), list(waits.x)) == ([1], [0.25], [pytest.approx(0.65)])


def test_of_very_many_launches_the_longest_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline_module, "_MOST_BARS", 3)
    launches = [launch(str(i), 0.0, end_us=100.0 + i) for i in range(10)]
    figure = timeline(launches)
    assert figure.layout.title.text == "Timeline: the 3 longest of 10 launches"
    assert sorted(figure.data[0].y) == [7, 8, 9]


def test_bytes_are_those_of_all_ranks() -> None:
    launches = [launch("0-3", group="dp"), launch("1", group="tp", kind="send"), launch("1")]
    assert sent(launches) == {
        ("dp", "all_reduce", "layers.0"): 4000,
        ("tp", "send", "layers.0"): 1000,
        ("world", "all_reduce", "layers.0"): 1000,
    }
    bars = {bar.name: dict(zip(bar.x, bar.y, strict=True)) for bar in bytes_by_group(launches).data}
    assert bars["all_reduce"]["dp"] * 2**20 == 4000
    assert bars["send"] == {"dp": 0, "tp": 1000 / 2**20, "world": 0}


def test_the_matrix_adds_up_and_keeps_the_largest_modules() -> None:
    launches = [launch(module=f"m{i}", wire_bytes=1000 * (i + 1)) for i in range(50)]
    launches.append(launch(module="m49", group="dp", wire_bytes=7))
    (matrix,) = bytes_by_group_and_module(launches).data
    total = sum(cell for row in matrix.z for cell in row if cell is not None)
    assert total * 2**20 == pytest.approx(sum(one.wire_bytes for one in launches))
    assert matrix.y[0] == "m49"
    assert matrix.y[-1] == "other modules"
    assert list(matrix.x) == ["dp", "world"]
    assert matrix.z[1][0] is None


def test_cohorts_are_drawn_where_ranks_launch_together() -> None:
    assert not is_shared([launch("0"), launch("1")])
    launches = [launch("0-511", num_cohorts=n) for n in (512, 8, 1)]
    ranks, cohorts = cohorts_over_time(launches).data
    assert list(ranks.y) == [512] * 3
    assert list(cohorts.y) == [512, 8, 1]
    assert "512 ranks hold 8 different values" in cohorts.customdata[1]


def test_the_table_adds_launches_up() -> None:
    lines = table_text([launch("0-3"), launch("0-3"), launch("1", kind="send")]).splitlines()
    assert lines[1].split() == ["layers.0", "forward", "all_reduce", "world", "2", "8,000"]
    assert lines[2].split()[-2:] == ["1", "1,000"]
