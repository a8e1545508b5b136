"""What enters and leaves a region in which each rank has its part of the weights."""

import torch
import torch.distributed as dist


class Enter(torch.autograd.Function):
    """The gradient is the sum of all ranks'."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.clone()
        dist.all_reduce(gradient)
        return gradient


class Leave(torch.autograd.Function):
    """The value is the sum of all ranks'."""

    @staticmethod
    def forward(ctx, x):
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Gather(torch.autograd.Function):
    """The value is all ranks', side by side in the last dimension."""

    @staticmethod
    def forward(ctx, x):
        pieces = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(pieces, x.contiguous())
        return torch.cat(pieces, -1)

    @staticmethod
    def backward(ctx, gradient):
        return own_part(gradient, -1)


def own_part(x, dim):
    """The rank's own part of a tensor that all hold."""
    size = x.shape[dim] // dist.get_world_size()
    return x.narrow(dim, dist.get_rank() * size, size).contiguous()
