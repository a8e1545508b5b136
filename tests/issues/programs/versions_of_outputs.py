"""Buffers that a collective writes again before the backward that needs what was in them."""

import torch
import torch.distributed as dist
from report import report

dist.init_process_group("gloo")
size = dist.get_world_size()


def buffers(number):
    return [torch.ones(2) for _ in range(number)]


def gradient_after(write, written):
    """Of a product with buffers, which a collective writes before the backward; or that it is refused."""
    weight = torch.full((2,), 3.0, requires_grad=True)
    product = sum((weight.repeat(one.numel() // 2) * one).sum() for one in written)
    write(written)
    try:
        product.backward()
    except RuntimeError as error:
        return "modified by an inplace operation" in str(error)
    return weight.grad


part, whole = torch.full((2,), 5.0), torch.full((2 * size,), 5.0)

report(
    all_gather_into_tensor=gradient_after(
        lambda written: dist.all_gather_into_tensor(written[0], part), [torch.ones(2 * size)]
    ),
    all_to_all_single=gradient_after(
        lambda written: dist.all_to_all_single(written[0], whole), [torch.ones(2 * size)]
    ),
    all_gather=gradient_after(lambda written: dist.all_gather(written, part), buffers(size)),
    reduce_scatter_tensor=gradient_after(
        lambda written: dist.reduce_scatter_tensor(written[0], whole), buffers(1)
    ),
    reduce_scatter=gradient_after(
        lambda written: dist.reduce_scatter(written[0], buffers(size)), buffers(1)
    ),
    all_to_all=gradient_after(
        lambda written: dist.all_to_all(written, buffers(size)), buffers(size)
    ),
    all_reduce=gradient_after(lambda written: dist.all_reduce(written[0]), buffers(1)),
    broadcast=gradient_after(lambda written: dist.broadcast(written[0], 1), buffers(1)),
)
