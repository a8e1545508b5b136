"""What torchtitan 0.3.0 takes for granted beside a rank: a GPU's attention, a torch newer than 2.13.

Importing this puts something else in its place, in whatever world.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch.nn import functional
from torch.nn.attention.flex_attention import create_block_mask, create_mask
from torchtitan.models.common import attention


def dense_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, block_mask: Any, **options: Any
) -> tuple[torch.Tensor, None]:
    """FlexAttention, which has no backward on the CPU, by a kernel that has."""
    if options["score_mod"] is not None:
        raise NotImplementedError("scores that are modified are not written here")
    mask = create_mask(block_mask.mask_mod, q.shape[0], 1, q.shape[2], k.shape[2], device="cpu")
    kept = {name: options[name] for name in ("scale", "enable_gqa")}
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, **kept), None


attention.FlexAttention._compiled_flex_attn = staticmethod(dense_attention)
attention._compiled_create_block_mask = create_block_mask

# Not every torch has it; nothing times out in one process.
if not hasattr(dist, "set_timeout"):
    dist.set_timeout = lambda *args, **kwargs: None
