"""polyrank.dist2: names, errors, groups; beside torch.distributed._dist2 where torch has that still."""

from __future__ import annotations

import inspect
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import _C, dist2

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT = timedelta(seconds=20)

torch_dist2: Any
try:
    from torch.distributed import _dist2 as torch_dist2
except ImportError:  # from torch 2.14 on
    torch_dist2 = None
# What PyTorch's function and ours are both asked.
BOTH = pytest.mark.parametrize("module", [dist2] if torch_dist2 is None else [torch_dist2, dist2])


@pytest.fixture
def one_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a world of one."""
    from dist2.processes import free_port

    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.skipif(torch_dist2 is None, reason="this PyTorch has no _dist2")
def test_every_name_of_pytorchs_module_is_here() -> None:
    assert set(torch_dist2.__all__) <= set(dist2.__all__)
    for name in ("ProcessGroup", "ReduceOp", "Store"):
        assert getattr(dist2, name) is getattr(torch_dist2, name)
    for name in ("register_backend", "new_group", "current_process_group", "process_group"):
        theirs = inspect.signature(getattr(torch_dist2, name)).parameters
        ours = inspect.signature(getattr(dist2, name)).parameters
        positional = [p for p in theirs.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert [p.name for p in positional] == list(ours)[: len(positional)]


@BOTH
def test_a_second_registration_is_a_value_error(module: Any) -> None:
    with pytest.raises(ValueError, match="Backend gloo already registered"):
        module.register_backend("gloo", lambda *args, **options: None)


@BOTH
def test_an_unknown_backend_is_a_value_error(module: Any) -> None:
    with pytest.raises(ValueError, match="Backend no_such not registered"):
        module.new_group("no_such", TIMEOUT, "cpu")


@BOTH
@pytest.mark.usefixtures("one_rank")
def test_an_option_for_gloo_is_an_assertion_error(module: Any) -> None:
    with pytest.raises(AssertionError, match="Gloo backend received unexpected kwargs"):
        module.new_group("gloo", TIMEOUT, "cpu", is_high_priority_stream=True)


@BOTH
def test_a_missing_variable_is_a_value_error(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ValueError, match="environment variable RANK expected, but not set"):
        module.new_group("gloo", TIMEOUT, "cpu")


@BOTH
@pytest.mark.usefixtures("one_rank")
def test_a_group_of_gloo(module: Any) -> None:
    group = module.new_group("gloo", TIMEOUT, "cpu")
    assert (group.rank(), group.size(), group.name()) == (0, 1, "gloo")
    assert group._device_types == [torch.device("cpu")]
    backend = group._get_backend(torch.device("cpu"))
    assert isinstance(backend, dist.ProcessGroupGloo)
    assert backend.options._timeout == TIMEOUT
    assert not dist.is_initialized()
    x = torch.ones(3)
    group.allreduce([x]).wait()
    assert x.tolist() == [1, 1, 1]


@pytest.mark.skipif(dist.is_nccl_available(), reason="this PyTorch has NCCL")
@pytest.mark.usefixtures("one_rank")
def test_nccl_where_pytorch_has_none() -> None:
    with pytest.raises(NotImplementedError, match="has no NCCL"):
        dist2.new_group("nccl", TIMEOUT, "cuda")


@BOTH
def test_the_current_group_is_per_thread(module: Any) -> None:
    group, seen = dist.ProcessGroup(dist.HashStore(), 0, 1), []
    other = dist.ProcessGroup(dist.HashStore(), 0, 1)
    assert module.current_process_group() is None
    with module.process_group(group):
        assert module.current_process_group() is group
        thread = threading.Thread(target=lambda: seen.append(module.current_process_group()))
        thread.start()
        thread.join()
        with pytest.raises(KeyError), module.process_group(other):
            assert module.current_process_group() is other
            raise KeyError
        assert dist2.current_process_group() is group
    assert module.current_process_group() is None
    assert seen == [None]


def test_a_factory_gets_what_it_was_called_with() -> None:
    calls: list[Any] = []
    store, option = dist.HashStore(), object()

    def factory(*args: Any, **options: Any) -> dist.ProcessGroup:
        calls.append((args, options))
        return dist.ProcessGroup(args[0], args[1], args[2])

    dist2.register_backend("test_api.factory", factory)
    group = dist2.new_group(
        "test_api.factory", TIMEOUT, "cuda:1", store=store, rank=2, world_size=5, one=option
    )
    assert (group.rank(), group.size()) == (2, 5)
    args, options = calls[0]
    assert args[1:] == (2, 5, TIMEOUT, torch.device("cuda", 1))
    assert options == {"one": option}
    store.set("key", "value")
    assert args[0].get("key") == b"value"
    assert args[0].timeout == TIMEOUT


@pytest.fixture
def nccl_factory() -> Iterator[Any]:
    """Sets what C++ calls for "nccl", which is in Python."""
    yield _C.set_dist2_nccl_factory
    _C.set_dist2_nccl_factory(dist2._nccl_factory if dist.is_nccl_available() else None)


def test_options_go_through_cpp_to_a_factory_in_python(nccl_factory: Any) -> None:
    calls: list[Any] = []
    given = {"store": dist.HashStore(), "rank": 1, "world_size": 2}
    options = {
        "a": 1,
        "b": 2.5,
        "c": "x",
        "d": [1, 2],
        "e": None,
        "f": True,
        "g": [0.5],
        "h": ["y"],
    }

    def factory(*args: Any, **options: Any) -> dist.ProcessGroup:
        calls.append((args, options))
        return dist.ProcessGroup(*args[:3])

    def refuse(*args: Any, **options: Any) -> dist.ProcessGroup:
        raise KeyError("of the factory")

    nccl_factory(factory)
    group = dist2.new_group("nccl", TIMEOUT, "cuda:1", **given, **options)
    assert (group.rank(), group.size()) == (1, 2)
    args, found = calls[0]
    assert args[1:] == (1, 2, TIMEOUT, torch.device("cuda", 1))
    assert found == options
    assert type(found["f"]) is bool
    with pytest.raises(ValueError, match="option a is a object; backends in C"):
        dist2.new_group("nccl", TIMEOUT, "cuda", **given, a=object())
    nccl_factory(refuse)
    with pytest.raises(KeyError, match="of the factory"):
        dist2.new_group("nccl", TIMEOUT, "cuda", **given)


def test_options_of_the_fake_backend() -> None:
    given = {"store": dist.HashStore(), "rank": 1, "world_size": 3}
    group = dist2.new_group("fake", TIMEOUT, "cpu", values="refuse", checks=False, **given)
    options = group._get_backend(torch.device("xpu")).options
    assert (options.values, options.checks, group.rank()) == ("refuse", False, 1)
    with pytest.raises(KeyError, match="Unknown option valus of backend") as raised:
        dist2.new_group("fake", TIMEOUT, "cpu", valus="refuse", **given)
    assert isinstance(raised.value, polyrank.UsageError)
    assert str(raised.value).endswith("it has checks, error_on_collective, fake_option, values")
    with pytest.raises(ValueError, match='option checks of backend "fake" can\'t be a'):
        dist2.new_group("fake", TIMEOUT, "cpu", checks="no", **given)
    with pytest.raises(ValueError, match="has no values"):
        dist2.new_group("fake", TIMEOUT, "cpu", values="no", **given)


@pytest.mark.parametrize("backend", ["lockstep", "threads"])
def test_worlds_that_are_not_on(backend: str) -> None:
    given = {"store": dist.HashStore(), "rank": 0, "world_size": 1}
    with pytest.raises(ValueError, match=f'backend "{backend}"'):
        dist2.new_group(backend, TIMEOUT, "cpu", **given)
    with pytest.raises(KeyError, match="Unknown option x"):
        dist2.new_group(backend, TIMEOUT, "cpu", x=1, **given)


@pytest.mark.parametrize(("rank", "world_size"), [(-1, 2), (2, 2), (0, 0)])
def test_ranks_outside_of_the_group(rank: int, world_size: int) -> None:
    with pytest.raises(ValueError, match=f"has no rank {rank}"):
        dist2.new_group(
            "gloo", TIMEOUT, "cpu", store=dist.HashStore(), rank=rank, world_size=world_size
        )


def test_a_timeout_must_be_positive() -> None:
    with pytest.raises(ValueError, match="it must be positive"):
        dist2.new_group("gloo", timedelta(0), "cpu", store=dist.HashStore(), rank=0, world_size=1)
