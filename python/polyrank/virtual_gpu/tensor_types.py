"""`torch.cuda.FloatTensor` and its brothers, which a PyTorch without CUDA has in name only."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["TENSOR_TYPES"]

_DTYPES = {
    "FloatTensor": torch.float32,
    "DoubleTensor": torch.float64,
    "HalfTensor": torch.float16,
    "BFloat16Tensor": torch.bfloat16,
    "LongTensor": torch.int64,
    "IntTensor": torch.int32,
    "ShortTensor": torch.int16,
    "CharTensor": torch.int8,
    "ByteTensor": torch.uint8,
    "BoolTensor": torch.bool,
}


class _TensorType(type):
    """A class of all tensors on cuda of one dtype; calling it makes one."""

    dtype: torch.dtype
    is_cuda = True

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, torch.Tensor) and value.is_cuda and value.dtype == cls.dtype

    def __call__(cls, *args: Any, device: Any = "cuda") -> torch.Tensor:
        if len(args) == 1 and not isinstance(args[0], (int, torch.Size)):
            return torch.as_tensor(args[0], dtype=cls.dtype).to(device)
        return torch.empty(*(args or (0,)), dtype=cls.dtype, device=device)


# By their names in torch.cuda. `Tensor.type()` reads the name of the class, dots and all.
TENSOR_TYPES: dict[str, type] = {
    name: _TensorType(f"torch.cuda.{name}", (), {"dtype": dtype}) for name, dtype in _DTYPES.items()
}
