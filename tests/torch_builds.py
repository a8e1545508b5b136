"""What a build of torch can't have, whatever its version."""

import pytest
import torch

needs_cpu_build = pytest.mark.skipif(
    torch.backends.cuda.is_built(), reason="virtual GPUs need a PyTorch that was built without CUDA"
)

needs_gpu_build = pytest.mark.skipif(
    not torch.backends.cuda.is_built(), reason="this PyTorch was built without CUDA"
)
