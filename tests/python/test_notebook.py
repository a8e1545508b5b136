"""What a notebook shows, run by Jupyter's own client and kernel."""

from __future__ import annotations

from typing import Any

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

IMPORTS = "import time, polyrank, torch, torch.distributed as dist"
ON_RANKS = """
with polyrank.trace() as trace, polyrank.lockstep(4):
    x = torch.ones(2) * (dist.get_rank() // 2)
    dist.barrier()
"""
SLOW = """
def slow():
    if dist.get_rank() == 1:
        time.sleep(3)
    dist.all_reduce(torch.ones(3))

polyrank.run_ranks(slow, 2, world="{world}")
"""


class Client(nbclient.NotebookClient):  # type: ignore[misc]
    """Keeps all that was ever shown, whatever took its place."""

    def __init__(self, *cells: str) -> None:
        code = [nbformat.v4.new_code_cell(cell) for cell in cells]
        notebook = nbformat.v4.new_notebook(cells=code)
        super().__init__(notebook, timeout=200, kernel_name="python3", allow_errors=True)
        self.ever_shown: list[str] = []

    def process_message(self, message: Any, cell: Any, cell_index: int) -> Any:
        """Note what a message shows."""
        if html := message["content"].get("data", {}).get("text/html"):
            self.ever_shown.append(html)
        return super().process_message(message, cell, cell_index)

    def outputs(self) -> list[list[Any]]:
        """Of each cell, after all ran."""
        return [cell.outputs for cell in self.execute().cells]


def test_tensors_cohorts_and_traces_are_tables_and_errors_short() -> None:
    cells = ("x", "x.cohorts()", "trace", "with polyrank.lockstep(2):\n    bool(dist.get_rank())")
    _, _, tensor, cohorts, trace, error = Client(IMPORTS, ON_RANKS, *cells).outputs()
    assert "4 ranks in 2 cohorts" in tensor[0].data["text/html"]
    assert "<td" in cohorts[0].data["text/html"]
    assert "barrier" in trace[0].data["text/html"]
    told = "\n".join(error[0].traceback)
    assert error[0].ename == "DivergenceError"
    assert "bool(dist.get_rank())" in told
    assert "site-packages" not in told


@pytest.mark.parametrize("world", ["threads", "processes"])
def test_a_line_says_how_far_ranks_are_and_goes_when_they_end(world: str) -> None:
    client = Client(IMPORTS, SLOW.format(world=world))
    *shown, result = client.outputs()[1]
    assert result.data["text/plain"] == "[None, None]"
    lines = [line for line in client.ever_shown if "ranks run" in line]
    assert any("2 alive  rank 0 waits in all_reduce" in line for line in lines), lines
    assert [output.data.get("text/html") for output in shown] == [""]


def test_what_ends_at_once_shows_no_line() -> None:
    client = Client(IMPORTS, "polyrank.run_ranks(dist.get_rank, 2)")
    (result,) = client.outputs()[1]
    assert result.data["text/plain"] == "[0, 1]"
