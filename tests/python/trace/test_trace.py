"""`polyrank.trace()`: every collective, where it was launched, and its texts."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import _C
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import init_device_mesh
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils.checkpoint import checkpoint


@pytest.fixture
def world4() -> Iterator[None]:
    with polyrank.lockstep(world_size=4):
        yield


@pytest.fixture
def one_of_eight() -> Iterator[None]:
    """Rank 3 of PyTorch's own fake group, which knows no record."""
    dist.init_process_group("fake", rank=3, world_size=8, store=FakeStore())
    yield
    dist.destroy_process_group()


def own() -> Any:
    return torch.ones(2) * dist.get_rank()


def here() -> int:
    """The line of the caller."""
    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    return frame.f_back.f_lineno


class AllReduce(torch.autograd.Function):
    """Reduces the gradient too, as tensor parallelism does."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        grad = grad.clone()
        dist.all_reduce(grad)
        return grad


class Reduces(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return AllReduce.apply(x).exp()  # type: ignore[no-any-return]


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Reduces(), Reduces()])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


@pytest.mark.usefixtures("world4")
def test_a_launch_has_what_the_program_said() -> None:
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    x = own()
    with polyrank.trace() as t:
        dist.all_reduce(x, op=dist.ReduceOp.MAX, group=mesh.get_group("dp"))
        line = here() - 1
    (launch,) = t.launches
    assert launch["group"] == {
        "name": mesh.get_group("dp").group_name,
        "label": "mesh_dp",
        "size": 2,
        "num_groups": 2,
        "ranks": "0,2",
    }
    assert launch["kind"] == "all_reduce" and launch["operator"] == "c10d::allreduce_"
    assert launch["ranks"] == "0-3" and launch["num_cohorts"] == 4 and launch["sequence"] == 0
    assert launch["reduce_op"] == "max" and launch["root"] is None
    assert launch["inputs"] == [{"dtype": "float32", "shape": [2], "count": 1, "bytes": 8}]
    assert launch["outputs"] == launch["inputs"]
    assert (launch["payload_bytes"], launch["wire_bytes"]) == (8, 8)
    assert launch["source"] == {"file": __file__, "line": line}
    assert not launch["async"] and launch["waited"] is None
    assert (launch["module"], launch["phase"]) == ("", "forward")
    assert launch["start_us"] < launch["end_us"]


@pytest.mark.usefixtures("world4")
def test_launches_keep_their_order_and_count_by_group() -> None:
    group = dist.new_group([0, 1])
    dist.all_reduce(own())
    with polyrank.trace() as t:
        dist.all_reduce(own())
        dist.barrier(group)
        dist.broadcast(own(), src=2)
        assert len(t) == 3
    dist.all_reduce(own())
    assert len(t) == 3
    launches = t.launches
    assert [(launch["kind"], launch["sequence"]) for launch in launches] == [
        ("all_reduce", 1),
        ("barrier", 0),
        ("broadcast", 2),
    ]
    assert launches[2]["root"] == 2


@pytest.mark.usefixtures("world4")
def test_the_wait_of_an_asynchronous_launch_is_found() -> None:
    with polyrank.trace() as t:
        work = dist.all_reduce(own(), async_op=True)
        reduced = torch.ops._c10d_functional.all_reduce(own(), "sum", dist.group.WORLD.group_name)
        assert [launch["waited"] for launch in t.launches] == [None, None]
        torch.ops._c10d_functional.wait_tensor(reduced)
        line = here() - 1
        work.wait()
    first, second = t.launches
    assert first["async"] and first["waited"]["line"] == line + 2
    assert second["async"] and second["waited"]["line"] == line
    assert second["waited"]["file"] == __file__
    assert first["waited"]["us"] > second["waited"]["us"] > second["end_us"]


@pytest.mark.usefixtures("world4")
def test_messages_and_objects_are_launches() -> None:
    with polyrank.trace() as t:
        dist.send(own(), (dist.get_rank() + 1) % 4)
        dist.recv(own(), (dist.get_rank() - 1) % 4)
        dist.all_gather_object([None] * 4, {"rank": dist.get_rank()})
    send, receive, objects = t.launches
    assert (send["kind"], send["peer"], send["payload_bytes"], send["wire_bytes"]) == (
        "send",
        "differs",
        8,
        8,
    )
    assert (receive["kind"], receive["payload_bytes"], receive["wire_bytes"]) == ("recv", 8, 0)
    assert objects["kind"] == "all_gather" and objects["inputs"][0]["dtype"] == "uint8"


@pytest.mark.usefixtures("world4")
def test_modules_are_named_in_forward_and_backward() -> None:
    x = own().requires_grad_()
    with polyrank.trace() as t:
        Model()(x).sum().backward()
        dist.barrier()
    assert [(launch["module"], launch["phase"]) for launch in t.launches] == [
        ("layers.0", "forward"),
        ("layers.1", "forward"),
        ("layers.1", "backward"),
        ("layers.0", "backward"),
        ("", "forward"),
    ]


@pytest.mark.usefixtures("world4")
def test_a_recomputed_forward_belongs_to_its_module_and_to_backward() -> None:
    model = Model()
    x = own().requires_grad_()
    with polyrank.trace() as t:
        y = checkpoint(model.layers[1], model.layers[0](x), use_reentrant=False)
        y.sum().backward()
    # Called by themselves, the layers are roots.
    assert [(launch["module"], launch["phase"]) for launch in t.launches] == [
        ("Reduces", "forward"),
        ("Reduces", "forward"),
        ("Reduces", "backward"),
        ("Reduces", "backward"),
        ("Reduces", "backward"),
    ]


@pytest.mark.usefixtures("world4")
def test_what_a_modules_own_hook_launches_is_the_modules() -> None:
    model = Model()
    model.layers[0].register_forward_hook(lambda module, args, output: dist.barrier())
    with polyrank.trace() as t:
        model(own())
    assert [launch["module"] for launch in t.launches] == ["layers.0", "layers.0", "layers.1"]


@pytest.mark.usefixtures("world4")
def test_a_module_that_raises_is_left() -> None:
    class Raises(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("no")

    with polyrank.trace() as t:
        with pytest.raises(ValueError, match="no"):
            Raises()(own())
        dist.barrier()
    assert t.launches[0]["module"] == ""


def test_hooks_are_gone_with_the_trace() -> None:
    model = Model()
    with polyrank.lockstep(world_size=2), polyrank.trace():
        model(own())
    assert not nn.modules.module._global_forward_pre_hooks
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.usefixtures("world4")
def test_traces_may_be_nested() -> None:
    with polyrank.trace() as outer:
        dist.barrier()
        with polyrank.trace(source=False) as inner:
            dist.all_reduce(own())
        dist.barrier()
    assert [launch["kind"] for launch in outer.launches] == ["barrier", "all_reduce", "barrier"]
    assert [launch["kind"] for launch in inner.launches] == ["all_reduce"]


@pytest.mark.usefixtures("world4")
def test_the_line_is_optional() -> None:
    with polyrank.trace(source=False) as t:
        dist.barrier()
    assert t.launches[0]["source"] is None


@pytest.mark.usefixtures("world4")
def test_an_error_ends_the_trace_and_is_no_launch() -> None:
    with pytest.raises(polyrank.CollectiveError), polyrank.trace() as t:
        dist.all_gather_into_tensor(torch.empty(3), own())
    assert t.launches == []
    dist.barrier()
    assert t.launches == []


@pytest.mark.usefixtures("one_of_eight")
def test_other_backends_are_recorded_by_their_operators() -> None:
    group = dist.new_group([1, 3, 5])
    with polyrank.trace() as t:
        dist.all_reduce(torch.ones(4))
        dist.broadcast(torch.ones(4), src=5, group=group)
    first, second = t.launches
    assert first["ranks"] == "3" and first["group"]["label"] == "world"
    assert first["group"]["ranks"] == "0-7" and first["payload_bytes"] == 16
    assert second["root"] == 2 and second["group"]["ranks"] == "1-5 step 2"
    assert second["source"]["file"] == __file__


@pytest.mark.usefixtures("one_of_eight")
@pytest.mark.parametrize("kind", ["meta", "fake"])
def test_tensors_without_values_are_recorded_once(kind: str) -> None:
    name = dist.group.WORLD.group_name
    with FakeTensorMode() if kind == "fake" else torch.device("meta"), polyrank.trace() as t:
        x = torch.ones(4, 2)
        dist.all_reduce(x)
        dist.reduce_scatter_tensor(torch.empty(1, 2), torch.ones(8, 2))
        functional = torch.ops._c10d_functional
        gathered = functional.all_gather_into_tensor(x, 8, name)
        assert gathered.shape == (32, 2)
        functional.wait_tensor(gathered)
        dist.barrier()
    reduced, scattered, gather, barrier = t.launches
    assert reduced["payload_bytes"] == 32 and scattered["payload_bytes"] == 64
    assert gather["outputs"][0]["shape"] == [32, 2] and gather["waited"] is not None
    assert barrier["kind"] == "barrier"


@pytest.mark.usefixtures("world4")
def test_the_json_form_is_json_with_a_version(tmp_path: Path) -> None:
    with polyrank.trace() as t:
        dist.all_reduce(own())
    document = json.loads(t.to_json(tmp_path / "t.json"))
    assert document == json.loads((tmp_path / "t.json").read_text())
    assert document["schema_version"] == 1
    assert document["launches"][0]["group"] == 0
    assert document["groups"][0]["label"] == "world"


@pytest.mark.usefixtures("world4")
def test_the_chrome_trace_has_a_row_for_ranks_that_launch_the_same(tmp_path: Path) -> None:
    mode = polyrank.local_tensor_mode()
    assert mode is not None
    with mode.disable():
        alone = polyrank.LocalTensor({2: torch.ones(1)})
    with polyrank.trace() as t:
        dist.all_reduce(own(), async_op=True).wait()
        dist.isend(alone, 3)
    events = json.loads(t.to_chrome_trace(tmp_path / "t.json"))["traceEvents"]
    rows = {event["tid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    assert rows == {0: "ranks 0-1,3", 1: "rank 2"}
    launches = [(e["tid"], e["name"]) for e in events if e["ph"] == "X" and e["name"] != "wait"]
    assert launches == [(0, "all_reduce"), (1, "all_reduce"), (1, "send")]
    starts = [event["id"] for event in events if event["ph"] == "s"]
    assert starts == [event["id"] for event in events if event["ph"] == "f"] == [0, 1]
    assert all(event["ts"] >= 0 for event in events if event["ph"] != "M")


@pytest.mark.usefixtures("world4")
def test_the_summary_adds_up_by_module_phase_kind_and_group() -> None:
    x = own().requires_grad_()
    with polyrank.trace() as t:
        for _ in range(3):
            Model()(x).sum().backward()
    lines = t.summary().splitlines()
    assert "12 collectives" in lines[0]
    (row,) = [line for line in lines if "layers.1" in line and "backward" in line]
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        "layers.1",
        "backward",
        "all_reduce",
        "world",
        "3",
        "24",
        "36",
    ]


def test_waits_of_rank_threads() -> None:
    def program() -> None:
        dist.all_reduce(torch.ones(3))
        work: Any = dist.all_reduce(torch.ones(3), async_op=True)
        work.wait()
        batch = [dist.P2POp(dist.isend, torch.ones(1), 1 - dist.get_rank())]
        batch += [dist.P2POp(dist.irecv, torch.ones(1), 1 - dist.get_rank())]
        for request in dist.batch_isend_irecv(batch):
            request.wait()

    line = program.__code__.co_firstlineno
    with polyrank.trace() as t:
        polyrank.run_ranks(program, 2)
    first, second = (
        launch for launch in t.launches if launch["ranks"] == "1" and launch["kind"] == "all_reduce"
    )
    assert first["waited"] is None
    assert second["waited"]["line"] == line + 3
    assert {launch["kind"] for launch in t.launches if launch["waited"]} == {
        "all_reduce",
        "send",
        "recv",
    }


@pytest.mark.parametrize("world", ["lockstep", "threads", "fake"])
def test_each_rank_numbers_its_launches_and_takes_time(world: str) -> None:
    def program() -> None:
        x = torch.ones(2)
        dist.all_reduce(x)
        dist.broadcast(x, src=0)
        dist.barrier()

    with polyrank.trace() as traced:
        if world == "threads":
            polyrank.run_ranks(program, 3)
        elif world == "lockstep":
            with polyrank.lockstep(3):
                program()
        else:
            with polyrank.fake_world(3, rank=1):
                program()
    by_ranks: dict[str, list[int]] = {}
    for launch in traced.launches:
        by_ranks.setdefault(str(launch["ranks"]), []).append(launch["sequence"])
        assert launch["end_us"] > launch["start_us"]
    assert len(by_ranks) == (3 if world == "threads" else 1)
    assert all(numbers == [0, 1, 2] for numbers in by_ranks.values())


def test_a_launch_of_an_unknown_operator_is_refused() -> None:
    with (
        polyrank.lockstep(2),
        pytest.raises(polyrank.UsageError, match='no collective "c10d::nonsense"'),
    ):
        _C.record_launch("c10d::nonsense", "0", 2, 8)


def test_compiled_code_runs_while_modules_are_named() -> None:
    class Meets(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            dist.barrier()
            return x + 1

    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh())
    inner = torch.compile(model, backend="eager")

    @torch.compile(backend="eager")
    def program(x: torch.Tensor) -> torch.Tensor:
        torch._dynamo.graph_break()  # the call below is no part of a graph
        return inner(x)

    x = torch.ones(1, 2)
    with polyrank.fake_world(2), polyrank.trace() as t:
        assert torch.equal(program(x), model(x))
        Meets()(x)
    assert [launch["module"] for launch in t.launches] == ["Meets"]
