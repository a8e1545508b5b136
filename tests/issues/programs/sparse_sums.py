"""Sums of sparse tensors whose indices repeat, as in gradients of an embedding: in any order of summation."""

import polyrank
import torch
import torch.distributed as dist
from report import report

dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(3)


def summed(indices, values, size):
    sparse = torch.sparse_coo_tensor(torch.tensor(indices), values, size)
    dist.all_reduce(sparse)
    return {
        "is_coalesced": sparse.is_coalesced(),
        "indices": sparse._indices(),
        "values": sparse._values(),
    }


def sums():
    def noise(*sizes):
        return torch.randn(*sizes) * (rank + 1) / 3

    return [
        summed([[1, 1, 0, 4, 1]], noise(5), (5,)),
        summed([[*range(40), *range(0, 40, 3)]], noise(54), (40,)),
        summed([[2, 2, 7], [0, 0, 1]], noise(3, 3), (8, 2, 3)),
        summed([[3]], noise(1), (5,)),
        summed([[0, 0]], noise(2).to(torch.bfloat16), (2,)),
        summed([[1, 0, 1]], torch.tensor([1, 2, 3]) + rank, (2,)),
        summed([[]], noise(0), (2,)),
    ]


in_rank_order = sums()
with polyrank.reduction_order("gloo"):  # which gloo itself does not ask for
    in_order_of_gloo = sums()
report(in_rank_order=in_rank_order, in_order_of_gloo=in_order_of_gloo)
