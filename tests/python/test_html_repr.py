"""What a notebook shows of a LocalTensor."""

import html.parser

import polyrank
import torch
import torch.distributed as dist
from oracle.rank_by_rank import local, same_on
from polyrank import LocalTensor, LocalTensorMode
from polyrank.output.html_repr import ROWS_SHOWN, trace_html


class Rows(html.parser.HTMLParser):
    """The text of a table's cells, row by row; fails on a tag that is not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data


def test_a_row_for_each_cohort() -> None:
    tensor = LocalTensor(dict.fromkeys(range(3), torch.ones(2)) | {3: torch.zeros(2)})
    head, *rows = Rows(tensor._repr_html_()).rows
    assert head == ["ranks", "shape", "values"]
    assert rows == [["0-2", "[2]", "tensor([1., 1.])"], ["3", "[2]", "tensor([0., 0.])"]]
    assert "4 ranks in 2 cohorts" in tensor._repr_html_()


def test_shapes_that_differ_in_a_mode_with_autograd() -> None:
    with LocalTensorMode(3):
        tensor = local(lambda rank: torch.zeros(rank), 3, requires_grad=True)
        before = len(tensor.cohorts())
        shapes = [row[1] for row in Rows((tensor * 2)._repr_html_()).rows[1:]]
        assert len(tensor.cohorts()) == before
    assert shapes == ["[0]", "[1]", "[2]"]


def test_it_stays_small() -> None:
    many = local(lambda rank: torch.randn(100, 100), 1000)
    rows = Rows(many._repr_html_()).rows
    assert rows[-1][0] == "… 984 more cohorts"
    assert len(many._repr_html_()) < 20_000
    scattered = {rank: torch.ones(1) for rank in range(0, 100_000, 2)}
    one_cohort = LocalTensor(dict.fromkeys(scattered, torch.ones(1)))
    assert len(one_cohort._repr_html_()) < 2_000
    assert len(same_on(100_000, torch.ones(300, 300))._repr_html_()) < 2_000


def test_text_is_escaped() -> None:
    tensor = same_on(2, torch.empty(2, device="meta"))
    text = tensor._repr_html_()
    assert "&#x27;meta&#x27;" in text
    assert "'meta'" in Rows(text).rows[1][2]


def test_cohorts_are_a_list_that_is_a_table() -> None:
    tensor = LocalTensor(dict.fromkeys(range(3), torch.ones(2)) | {3: torch.zeros(2)})
    cohorts = tensor.cohorts()
    assert isinstance(cohorts, list)
    assert [str(cohort.ranks) for cohort in cohorts[1:]] == ["3"]
    text = cohorts._repr_html_()  # type: ignore[attr-defined]
    assert Rows(text).rows == Rows(tensor._repr_html_()).rows
    assert "2 cohorts" in text


def test_a_trace_has_a_row_for_each_kind_of_launch() -> None:
    with polyrank.trace() as trace, polyrank.lockstep(4):
        dist.all_reduce(torch.ones(8))
        dist.all_reduce(torch.ones(8))
        dist.barrier()
    head, *rows = Rows(trace._repr_html_()).rows
    assert head[-3:] == ["count", "payload bytes", "wire bytes"]
    assert [row[2] for row in rows] == ["all_reduce", "barrier"]
    assert rows[0][-3:] == ["2", "64", "96"]
    assert "3 collectives" in trace._repr_html_()


def test_a_long_trace_is_cut() -> None:
    class Long:
        def __len__(self) -> int:
            return 100

        def totals(self) -> dict[tuple[str, ...], tuple[int, int, int]]:
            return {(f"<m{i}>", "forward", "send", "world"): (1, 2, 3) for i in range(100)}

    rows = Rows(trace_html(Long())).rows  # type: ignore[arg-type]
    assert len(rows) == ROWS_SHOWN + 2
    assert rows[1][0] == "<m0>"
    assert rows[-1][0] == "… 60 more"
