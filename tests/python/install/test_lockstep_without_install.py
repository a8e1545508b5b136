"""Without `install()`, PyTorch's own parallelism in a `polyrank.lockstep()` block says what to call."""

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import DivergenceError
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

CALL = "need a call of polyrank.install() before it"


def _shard() -> torch.Tensor:
    with polyrank.lockstep(2):
        mesh = init_device_mesh("cpu", (2,))
        return distribute_tensor(torch.arange(6.0), mesh, [Shard(0)]).to_local()


def test_a_dtensor_names_the_call() -> None:
    with pytest.raises(DivergenceError) as raised:
        _shard()
    assert CALL in "\n".join(raised.value.__notes__)


@pytest.mark.usefixtures("installed")
def test_after_the_call_it_is_distributed() -> None:
    shard = _shard()
    assert isinstance(shard, polyrank.LocalTensor)
    assert [shard._local_tensors[rank].tolist() for rank in range(2)] == [[0, 1, 2], [3, 4, 5]]


def test_a_divergence_of_the_program_does_not() -> None:
    with pytest.raises(DivergenceError) as raised, polyrank.lockstep(2):
        x = torch.ones(1) * dist.get_rank()
        dist.all_reduce(x)
        range(dist.get_rank())
    assert CALL not in "\n".join(getattr(raised.value, "__notes__", ()))
