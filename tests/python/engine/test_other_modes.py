"""Modes above and below ours, meta tensors and FakeTensors as the tensors of cohorts."""

from __future__ import annotations

from typing import Any

import polyrank
import pytest
import torch
from oracle.as_alone import assert_as_alone, distinct, each, mixed, shared
from oracle.rank_by_rank import assert_each_rank, local, local_int, num_cohorts, value_on_rank
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.distributed import _local_tensor as theirs
from torch.distributed.tensor.debug import CommDebugMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode


class Recorder(TorchDispatchMode):
    """Records each operator that it sees and the types of its tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, set[type]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        leaves = torch.utils._pytree.tree_leaves((args, kwargs))
        kinds = {type(leaf) for leaf in leaves if isinstance(leaf, Tensor)}
        self.seen.append((str(func), kinds))
        return func(*args, **(kwargs or {}))

    @property
    def names(self) -> list[str]:
        """The operators, without questions for sizes: those reach no operator with ours."""
        asks = ("aten.dim.", "aten.sym_size.", "aten.sym_numel.", "aten.is_contiguous.")
        return [name for name, _ in self.seen if not name.startswith(asks)]


def test_mode_above_sees_each_operator_once_on_local_tensors() -> None:
    x = distinct(2, 2).on_all_ranks()
    with polyrank.LocalTensorMode(4), Recorder() as recorder:
        y = (x @ x + 1).relu_()
    assert recorder.names == ["aten.mm.default", "aten.add.Tensor", "aten.relu_.default"]
    assert all(kinds == {polyrank.LocalTensor} for _, kinds in recorder.seen)
    assert isinstance(y, polyrank.LocalTensor)


def test_mode_above_sees_factories_and_random_operators() -> None:
    with polyrank.LocalTensorMode(4), Recorder() as recorder:
        x = torch.zeros(2)
        y = torch.rand(2)
    assert recorder.names == ["aten.zeros.default", "aten.rand.default"]
    assert isinstance(x, polyrank.LocalTensor)
    assert isinstance(y, polyrank.LocalTensor)


def test_mode_below_sees_the_operators_of_the_cohorts() -> None:
    x = mixed(2, 2).on_all_ranks()
    with Recorder() as recorder, polyrank.LocalTensorMode(4):
        x @ x
        torch.zeros(2)
    assert recorder.names == ["aten.mm.default", "aten.mm.default", "aten.zeros.default"]
    assert all(kinds <= {torch.Tensor} for _, kinds in recorder.seen)


def test_mode_without_any_mode_of_ours() -> None:
    x = distinct(2).on_all_ranks()
    with Recorder() as recorder:
        y = x + 1
    assert recorder.seen[0] == ("aten.add.Tensor", {polyrank.LocalTensor})
    assert isinstance(y, polyrank.LocalTensor)


def test_modes_see_backward() -> None:
    x = distinct(2, 2, requires_grad=True).on_all_ranks()
    with polyrank.LocalTensorMode(4), Recorder() as recorder:
        (x @ x).sum().backward()
    assert recorder.names.count("aten.mm.default") == 3


def test_modes_see_what_they_see_with_the_mode_of_pytorch() -> None:
    def program(x: Tensor, y: Tensor) -> None:
        z = torch.nn.functional.layer_norm(x @ y, (2,))
        z = torch.cat([z, torch.ones(1, 2)])[1:].view(-1)
        z.add_(1).softmax(0).sum()

    plain = [torch.randn(2, 2) for _ in range(4)]
    names = []
    for kind, mode in (
        (polyrank.LocalTensor, polyrank.LocalTensorMode),
        (theirs.LocalTensor, theirs.LocalTensorMode),
    ):
        x, y = kind(dict(enumerate(plain[:2]))), kind(dict(enumerate(plain[2:])))
        with mode(2), Recorder() as recorder:
            program(x, y)
        names.append(recorder.names)
    assert names[0] == names[1]


def test_flop_counter() -> None:
    x, y = distinct(4, 8).on_all_ranks(), shared(8, 16).on_all_ranks()
    with polyrank.LocalTensorMode(4), FlopCounterMode(display=False) as counter:
        x @ y
    assert counter.get_total_flops() == 2 * 4 * 8 * 16


@pytest.mark.usefixtures("lockstep")
def test_comm_debug_mode_above() -> None:
    x = torch.ones(4)
    with CommDebugMode() as comms:
        torch.distributed.all_reduce(x)
    assert comms.get_total_counts() == 1


# --- Meta and fake tensors ---------------------------------------------------------------------


def test_meta_tensors() -> None:
    def program(x: Tensor, y: Tensor) -> Any:
        z = (x @ y).relu_()[1:].view(-1)
        return z, torch.empty(3, device="meta") + 1, x.t().contiguous()

    metas = [torch.empty(4, n, device="meta") for n in (2, 3, 2, 2)]
    others = [torch.empty(n, 5, device="meta") for n in (2, 3, 2, 2)]
    result = assert_as_alone(program, each(*metas), each(*others))
    assert num_cohorts(result[0]) == 1


def test_meta_tensors_of_one_shape_are_one_cohort() -> None:
    x = local(lambda _: torch.empty(2, device="meta"), 1000)
    assert num_cohorts(x + x) == 1


def test_meta_tensors_diverge_by_shape_only() -> None:
    with polyrank.LocalTensorMode(1000):
        size = local_int({rank: 2 + rank % 3 for rank in range(1000)})
        x = torch.empty(size, 4, device="meta")
        y = x @ torch.empty(4, 5, device="meta")
    assert num_cohorts(y) == 3
    assert value_on_rank(y.shape[0], 7) == 3
    assert y.shape[1] == 5


def test_fake_mode_below() -> None:
    with FakeTensorMode(), polyrank.LocalTensorMode(4):
        x = torch.ones(4, 3, requires_grad=True)
        loss = (x @ torch.rand(3, 2)).relu().sum()
        loss.backward()
    assert isinstance(x, polyrank.LocalTensor)
    assert isinstance(x.cohorts()[0].tensor, FakeTensor)
    assert num_cohorts(loss) == 1
    assert x.grad.shape == (4, 3)
    assert isinstance(x.grad.cohorts()[0].tensor, FakeTensor)


@pytest.mark.parametrize("fake_is_inside", [False, True])
def test_random_operators_on_fake_tensors_draw_nothing(fake_is_inside: bool) -> None:
    fake = FakeTensorMode()
    plain = fake.from_tensor(torch.empty(3))
    lockstep = polyrank.LocalTensorMode(4)
    with lockstep if fake_is_inside else fake, fake if fake_is_inside else lockstep:
        for x in (torch.empty(3), plain):
            x.cauchy_().exponential_().log_normal_().geometric_(0.5)
            assert x.shape == (3,)


def test_fake_mode_below_with_shapes_that_differ() -> None:
    with FakeTensorMode(), polyrank.LocalTensorMode(4):
        x = torch.ones(local_int((1, 2, 1, 2)), 3)
        y = torch.cat([x, x]).t()
    assert num_cohorts(y) == 2
    assert [value_on_rank(y.shape[1], rank) for rank in range(4)] == [2, 4, 2, 4]


def test_local_tensor_made_of_fake_tensors() -> None:
    mode = FakeTensorMode()
    plain = [mode.from_tensor(torch.ones(2, 3)) for _ in range(2)]
    x = polyrank.LocalTensor(dict(enumerate(plain)))
    with mode:
        y = x + 1
    assert y.shape == (2, 3)
    assert isinstance(y.on_rank(1), FakeTensor)


def test_fake_tensors_outside_of_their_mode() -> None:
    plain = FakeTensorMode().from_tensor(torch.ones(2, 3))
    x = polyrank.LocalTensor(dict.fromkeys(range(4), plain))
    with polyrank.LocalTensorMode(4):
        for y in (plain + 1, plain.normal_(), (x + 1).on_rank(1)):
            assert isinstance(y, FakeTensor)
            assert y.shape == (2, 3)


def test_data_dependent_shape_of_a_fake_tensor_is_the_error_of_fake_tensors() -> None:
    with FakeTensorMode(), polyrank.LocalTensorMode(2):
        x = torch.ones(3)
        with pytest.raises(RuntimeError):
            x.nonzero()


def test_torch_function_modes() -> None:
    class Count(torch.overrides.TorchFunctionMode):
        calls = 0

        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            self.calls += 1
            return func(*args, **(kwargs or {}))

    x = distinct(3).on_all_ranks()
    with Count() as count, polyrank.LocalTensorMode(4):
        y = torch.add(x, 1)
    assert count.calls >= 1
    assert_each_rank(y, {r: distinct(3).on_rank(r) + 1 for r in range(4)})


def test_default_device_context() -> None:
    with torch.device("meta"), polyrank.LocalTensorMode(2):
        x = torch.ones(2)
    assert x.device.type == "meta"
    with polyrank.LocalTensorMode(2), torch.device("meta"):
        y = torch.ones(2)
    assert isinstance(x, polyrank.LocalTensor)
    assert isinstance(y, polyrank.LocalTensor)


def test_a_subclass_of_another_kind_handles_operators_with_local_tensors() -> None:
    class Tagged(Tensor):
        @classmethod
        def __torch_dispatch__(
            cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            return answer

    answer = torch.ones(1)
    tagged = torch.Tensor._make_wrapper_subclass(Tagged, (3,))
    x = distinct(3).on_all_ranks()
    assert torch.add(x, tagged) is answer
    assert torch.add(tagged, x) is answer
    with polyrank.LocalTensorMode(4):
        assert torch.add(x, tagged) is answer


def test_cohorts_are_handled_without_python(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = polyrank.LocalTensorMode
    in_python = []
    run = ours._run

    def watched(self: Any, func: Any, *rest: Any) -> Any:
        in_python.append(str(func))
        return run(self, func, *rest)

    monkeypatch.setattr(ours, "_run", watched)
    ranks = distinct(8).on_all_ranks()
    with ours(4):
        whole = torch.zeros(8)
        views = list(whole.view(2, 4))
        whole.add_(ranks)  # splits the storage, so that each view is made anew for each rank
        torch._foreach_copy_(views, [views[1].clone(), views[0].clone()])
        whole.t_()
        total = views[0] + views[1]
    assert in_python == []
    for rank in range(4):
        assert torch.equal(value_on_rank(total, rank), value_on_rank(ranks, rank).view(2, 4).sum(0))
