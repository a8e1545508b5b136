"""Buffers that a collective writes again before the backward that needs what was in them."""

import torch
import torch.distributed as dist
from report import report

dist.init_process_group("gloo")
size = dist.get_world_size()


def buffers(number):
    return [torch.ones(2) for _ in range(number)]


def gradient_after(write, number=1):
    """Of a product with a buffer, which a collective writes before the backward; or that it is refused."""
    weight = torch.full((2,), 3.0, requires_grad=True)
    written = buffers(number)
    if number == 1:
        written = [torch.ones(2 * size)] if write in WHOLE else written
    product = sum((weight.repeat(one.numel() // 2) * one).sum() for one in written)
    write(written)
    try:
        product.backward()
    except RuntimeError as error:
        return "modified by an inplace operation" in str(error)
    return weight.grad


def all_gather_into_tensor(written):
    dist.all_gather_into_tensor(written[0], torch.full((2,), 5.0))


def all_to_all_single(written):
    dist.all_to_all_single(written[0], torch.full((2 * size,), 5.0))


WHOLE = (all_gather_into_tensor, all_to_all_single)

report(
    all_gather_into_tensor=gradient_after(all_gather_into_tensor),
    all_to_all_single=gradient_after(all_to_all_single),
    all_gather=gradient_after(
        lambda written: dist.all_gather(written, torch.full((2,), 5.0)), size
    ),
    reduce_scatter_tensor=gradient_after(
        lambda written: dist.reduce_scatter_tensor(written[0], torch.full((2 * size,), 5.0))
    ),
    reduce_scatter=gradient_after(lambda written: dist.reduce_scatter(written[0], buffers(size))),
    all_to_all=gradient_after(lambda written: dist.all_to_all(written, buffers(size)), size),
    all_reduce=gradient_after(lambda written: dist.all_reduce(written[0])),
    broadcast=gradient_after(lambda written: dist.broadcast(written[0], 1)),
)
