"""Errors of runs, read and drawn: the errors are made here, so that their words are those that are read."""

from collections.abc import Callable

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank.run_report.failure_graph import failure_graph, nodes_of


def message_of(program: Callable[[], None], world_size: int) -> str:
    with pytest.raises(polyrank.RanksFailedError) as failed:
        polyrank.run_ranks(program, world_size)
    return str(failed.value.exceptions[0])


def deadlocked() -> None:
    rank = dist.get_rank()
    if rank == 3:
        return
    if rank in (1, 2):
        dist.recv(torch.ones(2), 3 - rank)
    dist.barrier()


def mismatched() -> None:
    if dist.get_rank() == 2:
        dist.broadcast(torch.ones(4), 0)
    else:
        dist.all_reduce(torch.ones(4))


def test_a_deadlock_is_who_waits_for_whom() -> None:
    nodes = {node.ranks: node for node in nodes_of(message_of(deadlocked, 4))}
    assert nodes["rank 1"].waits_for == {2}
    assert nodes["rank 2"].waits_for == {1}
    assert nodes["rank 0"].waits_for >= {1, 2, 3}
    assert nodes["rank 3"].does == "has returned"
    assert all("test_failure_graph.py:" in nodes[f"rank {rank}"].place for rank in range(3))


def test_a_mismatch_is_who_launched_what() -> None:
    nodes = {node.ranks: node for node in nodes_of(message_of(mismatched, 4))}
    assert set(nodes) == {"ranks 0-1,3", "rank 2"}
    assert nodes["rank 2"].does.startswith("broadcast")
    assert nodes["rank 2"].members == {2}
    assert not any(node.waits_for for node in nodes.values())


def test_arrows_go_from_who_waits() -> None:
    pytest.importorskip("plotly")
    figure = failure_graph(nodes_of(message_of(deadlocked, 4)))
    assert len(figure.layout.annotations) == 5  # 0 to 1, 2 and 3; 1 and 2 to each other
    assert figure.layout.title.text == "What failed: who waits for whom"
    title = failure_graph(nodes_of(message_of(mismatched, 4))).layout.title.text
    assert title.endswith("who launched what")


def test_other_errors_draw_nothing() -> None:
    assert nodes_of("no such file: 'data.bin'\n  in train.py") == []
