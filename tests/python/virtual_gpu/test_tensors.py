"""Tensors on a virtual GPU: where they say they are, how they are moved, kept and refused."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from polyrank.errors import UnsupportedOpError
from torch import Tensor


def test_a_tensor_is_on_cuda() -> None:
    x = torch.ones(3, 4, device="cuda")
    assert x.device == torch.device("cuda", 0)
    assert x.is_cuda
    assert x.type() == "torch.cuda.FloatTensor"
    assert x.get_device() == 0
    assert "device='cuda:0'" in repr(x + 1)


@pytest.mark.parametrize(
    "move",
    [
        lambda x: x.cuda(1),
        lambda x: x.to("cuda:1"),
        lambda x: x.to(1),
        lambda x: x.to(device=torch.device("cuda", 1), non_blocking=True),
        lambda x: torch.empty_like(x, device="cuda:1").copy_(x),
        lambda x: x.pin_memory().to("cuda:1", non_blocking=True),
        lambda x: x.cuda().to("cuda:1"),
    ],
)
def test_moving_keeps_values(move: Callable[[Tensor], Tensor]) -> None:
    x = torch.rand(3, 2).t()
    moved = move(x)
    assert moved.device == torch.device("cuda", 1)
    assert torch.equal(moved.cpu(), x)
    assert moved.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()


def test_legacy_constructors_and_types() -> None:
    assert torch.cuda.FloatTensor([1.0, 2.0]).device.type == "cuda"
    assert torch.ones(2).type("torch.cuda.DoubleTensor").dtype == torch.float64
    assert isinstance(torch.ones(1).cuda(), torch.cuda.FloatTensor)
    assert torch.tensor([1, 2]).cuda().new_zeros(3).device.type == "cuda"


def test_views_share_memory_and_versions() -> None:
    x = torch.zeros(2, 3, device="cuda")
    x[0].add_(1)
    x.view(6)[5:] = 9
    assert x.tolist() == [[1, 1, 1], [0, 0, 9]]
    assert x[0]._base is x
    assert x._version == 2


def test_current_device_decides_where_none_is_named() -> None:
    with torch.cuda.device(1):
        assert torch.ones(1, device="cuda").device.index == 1
        assert torch.cuda.current_device() == 1
    torch.cuda.set_device(1)
    assert torch.ones(1).cuda().device.index == 1
    torch.cuda.set_device(0)
    with torch.device("cuda:1"):
        assert torch.ones(1).device.index == 1
    assert (torch.ones(1, device="cuda:1") + 1).device.index == 1


def test_storages_are_resized_as_fsdp_does_it() -> None:
    x = torch.arange(8.0, device="cuda")
    storage = x.untyped_storage()
    storage.resize_(0)
    assert storage.size() == 0
    storage.resize_(32)
    assert x.fill_(2).sum().item() == 16
    assert torch.empty(0, device="cuda").resize_(4).fill_(1).sum().item() == 4
    assert torch.UntypedStorage(8, device="cuda:1").device.index == 1


@pytest.mark.parametrize("target", [None, "cpu", "cuda:0", {"cuda:1": "cuda:0"}])
def test_saved_tensors_come_back(target: Any) -> None:
    file = io.BytesIO()
    torch.save({"a": torch.arange(3.0, device="cuda:1")}, file)
    file.seek(0)
    loaded = torch.load(file, map_location=target)["a"]
    assert loaded.tolist() == [0, 1, 2]
    expected = "cpu" if target == "cpu" else "cuda:1" if target is None else "cuda:0"
    assert str(loaded.device) == expected


def test_copies_stay_on_their_device() -> None:
    x = torch.arange(3.0, device="cuda:1")
    assert pickle.loads(pickle.dumps(x)).device.index == 1
    layer = copy.deepcopy(torch.nn.Linear(2, 2).cuda())
    assert layer.weight.device.type == "cuda"


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda x: x + torch.ones(3), "Expected all tensors to be on the same device"),
        (lambda x: x + torch.ones(3, device="cuda:1"), "cuda:0 and cuda:1"),
        (lambda x: torch.ones(3).add_(x), "cuda:0 and cpu"),
        (lambda x: torch.nn.Linear(3, 1)(x), "Expected all tensors to be on the same device"),
        (lambda x: torch.arange(3)[x.long()], "indices should be either on cpu"),
        (lambda x: torch.ones(1, device="cuda:2"), "CUDA error: invalid device ordinal"),
        (lambda x: torch.cuda.set_device(2), "CUDA error: invalid device ordinal"),
        (lambda x: x.numpy(), "can't convert cuda:0 device type tensor to numpy"),
    ],
)
def test_errors_are_cudas(run: Callable[[Tensor], Any], words: str) -> None:
    with pytest.raises((RuntimeError, TypeError), match=words):
        run(torch.ones(3, device="cuda"))


@pytest.mark.parametrize(
    "give",
    [
        lambda x: torch.utils.dlpack.to_dlpack(x),
        lambda x: x.__dlpack__(),
        lambda x: x.__cuda_array_interface__,
        lambda x: torch.from_dlpack(x),
    ],
)
def test_memory_is_given_to_no_kernel_of_others(give: Callable[[Tensor], Any]) -> None:
    with pytest.raises(UnsupportedOpError, match="Move it to the CPU first"):
        give(torch.ones(1, device="cuda"))


def test_sparse_tensors_are_refused() -> None:
    with pytest.raises((UnsupportedOpError, RuntimeError), match="parse"):
        torch.eye(2, device="cuda").to_sparse()


def test_what_lives_on_a_gpu_is_counted() -> None:
    before = torch.cuda.memory_allocated(1)
    x = torch.ones(1000, device="cuda:1")
    assert torch.cuda.memory_allocated(1) - before == 4096
    view = x[:10]
    assert torch.cuda.memory_allocated(1) - before == 4096
    del x, view
    assert torch.cuda.memory_allocated(1) == before
    assert torch.cuda.max_memory_allocated(1) >= before + 4096
    torch.cuda.reset_peak_memory_stats(1)
    assert torch.cuda.max_memory_allocated(1) == before
    assert torch.cuda.memory_stats(1)["allocated_bytes.all.current"] == before
    assert torch.accelerator.memory.memory_allocated(1) == before
    free, total = torch.cuda.mem_get_info()
    assert 0 < free <= total == 80 * 2**30
    assert "Allocated memory" in torch.cuda.memory_summary()


def test_nested_tensors_are_refused_with_what_to_do() -> None:
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    mask = torch.tensor([[False, False, True], [False, False, False]], device="cuda")
    x = torch.ones(2, 3, 8, device="cuda")
    with torch.no_grad():
        with pytest.raises(UnsupportedOpError, match="enable_nested_tensor=False"):
            torch.nn.TransformerEncoder(layer, 1).cuda().eval()(x, src_key_padding_mask=mask)
        encoder = torch.nn.TransformerEncoder(layer, 1, enable_nested_tensor=False).eval()
        expected = encoder.cpu()(x.cpu(), src_key_padding_mask=mask.cpu())
        assert torch.equal(encoder.cuda()(x, src_key_padding_mask=mask).cpu(), expected)


def test_jagged_tensors_are_on_a_gpu() -> None:
    rows = [torch.ones(2, 3), torch.ones(4, 3)]
    jagged = torch.nested.nested_tensor(rows, layout=torch.jagged, device="cuda")
    assert jagged.is_cuda
    assert (jagged * 2).sum().item() == 36
