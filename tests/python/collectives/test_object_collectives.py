"""Object collectives: each rank's object is pickled, and what ranks receive is merged."""

from __future__ import annotations

import inspect
import pathlib
import pickle
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import _C
from polyrank.tensor.per_rank import merged
from torch.distributed.device_mesh import init_device_mesh

pytestmark = pytest.mark.usefixtures("world4")


def objects() -> dict[str, Any]:
    """Tensor, int and string of the rank, and what is the same on all."""
    rank = dist.get_rank()
    return {
        "rank": rank,
        "deep": [(torch.ones(2) * rank, "same")],
        "name": polyrank.PerRank({r: f"host{r}" for r in range(4)}),
    }


def check(value: dict[str, Any], rank: int) -> None:
    assert type(value["rank"]) is int
    assert value["rank"] == rank
    assert value["name"] == f"host{rank}"
    tensor, text = value["deep"][0]
    assert type(tensor) is torch.Tensor
    assert tensor.tolist() == [rank, rank]
    assert text == "same"


def test_all_gather_object_of_the_world() -> None:
    out: list[Any] = [None] * 4
    dist.all_gather_object(out, objects())
    for rank in range(4):
        check(out[rank], rank)


def test_all_gather_object_of_a_mesh_dimension() -> None:
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    out: list[Any] = [None] * 2
    dist.all_gather_object(out, objects(), group=mesh.get_group("tp"))
    assert out[1]["rank"].node._local_ints == {0: 1, 1: 1, 2: 3, 3: 3}
    assert out[1]["name"] == polyrank.PerRank({r: f"host{r // 2 * 2 + 1}" for r in range(4)})
    tensor, text = out[1]["deep"][0]
    assert [tensor.on_rank(r)[0].item() for r in range(4)] == [1, 1, 3, 3]
    assert len(tensor.cohorts()) == 2
    assert text == "same"


@pytest.mark.skipif(
    "weights_only" not in inspect.signature(dist.all_gather_object).parameters,
    reason="this PyTorch lacks it",
)
def test_weights_only_lets_through_what_processes_do() -> None:
    out: list[Any] = [None] * 4
    dist.all_gather_object(out, {"rank": dist.get_rank(), "x": [torch.ones(1)]}, weights_only=True)
    assert [entry["rank"] for entry in out] == [0, 1, 2, 3]
    sent: list[Any] = [{"by": dist.get_rank()}]
    dist.broadcast_object_list(sent, src=2, weights_only=True)
    assert sent == [{"by": 2}]
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        dist.gather_object(pathlib.Path("a"), out, weights_only=True)
    dist.gather_object(pathlib.Path("a"), out)
    assert out[0].on_rank(0) == pathlib.Path("a")


def test_an_object_that_all_ranks_share_comes_back_as_it_is() -> None:
    out: list[Any] = [None] * 4
    dist.all_gather_object(out, {"a": [1, "b"]})
    assert out == [{"a": [1, "b"]}] * 4


def test_gather_object_leaves_the_list_on_other_ranks() -> None:
    out: list[Any] = ["old"] * 4
    dist.gather_object(dist.get_rank(), out, dst=2)
    assert [out[3].on_rank(rank) for rank in range(4)] == ["old", "old", 3, "old"]


def test_broadcast_object_list() -> None:
    values: list[Any] = [objects(), "text", None]
    dist.broadcast_object_list(values, src=3)
    check(values[0], 3)
    assert values[1:] == ["text", None]


def test_broadcast_object_list_on_a_group_that_stands_alone() -> None:
    values: list[Any] = [dist.get_rank()]
    dist.broadcast_object_list(values, src=2, group=dist.new_group([1, 2]))
    assert values[0].node._local_ints == {0: 0, 1: 2, 2: 2, 3: 3}


def test_scatter_object_list() -> None:
    out: list[Any] = [None]
    given = [{"to": i, "from": dist.get_rank()} for i in range(4)]
    dist.scatter_object_list(out, given, src=1)
    assert out[0]["to"].node._local_ints == {0: 0, 1: 1, 2: 2, 3: 3}
    assert out[0]["from"] == 1


def test_lists_of_the_wrong_length() -> None:
    with pytest.raises(polyrank.UsageError, match="object_list has 3 entries; the group has 4"):
        dist.all_gather_object([None] * 3, 1)
    with pytest.raises(polyrank.UsageError, match="give object_gather_list"):
        dist.gather_object(1, None, dst=0)
    with pytest.raises(polyrank.UsageError, match="give scatter_object_input_list"):
        dist.scatter_object_list([None], None, src=0)


def test_messages_of_objects_are_refused() -> None:
    with pytest.raises(polyrank.UnsupportedOpError, match="threads world"):
        dist.send_object_list([1], dst=1)


def test_objects_are_counted_in_the_report() -> None:
    dist.all_gather_object([None] * 4, "x" * 1000)
    (row,) = _C.report()
    assert row["kind"] == "all_gather"
    assert 1000 < row["bytes"] < 1100


def test_what_merges() -> None:
    nan = float("nan")
    assert merged({0: 1, 1: 1}) == 1
    assert merged({0: 1, 1: 2}).node._local_ints == {0: 1, 1: 2}
    assert merged({0: (1, "a"), 1: (1, "a")}) == (1, "a")
    assert isinstance(merged({0: True, 1: False}), polyrank.PerRank)
    assert isinstance(merged({0: 0.0, 1: -0.0}), polyrank.PerRank)
    assert isinstance(merged({0: nan, 1: float("nan")}), float)
    assert isinstance(merged({0: 1, 1: 1.0}), polyrank.PerRank)
    assert isinstance(merged({0: [1], 1: [1, 2]}), polyrank.PerRank)
    assert isinstance(merged({0: {"a": 1}, 1: {"b": 1}}), polyrank.PerRank)


def test_a_per_rank_object_is_none_of_the_objects() -> None:
    value = polyrank.PerRank({0: "a", 1: "b", 2: "b"})
    assert repr(value) == "PerRank(ranks 0: 'a', ranks 1-2: 'b')"
    assert value.on_rank(1) == "b"
    with pytest.raises(polyrank.DivergenceError, match="compared with 'a'"):
        _ = value == "a"
    with pytest.raises(polyrank.DivergenceError, match="used as a condition"):
        bool(value)
    with pytest.raises(polyrank.UsageError, match="rank 3 holds no object; ranks 0-2 do"):
        value.on_rank(3)
    with pytest.raises(polyrank.UsageError, match="at least one rank"):
        polyrank.PerRank({})
