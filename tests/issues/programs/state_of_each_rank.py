"""What a program changes in its process: names that it patches, operators, compiled functions, settings."""

import builtins

import torch
import torch.distributed as dist
from report import report
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from torch.distributed.tensor.parallel import loss_parallel
from torch.nn.modules.module import register_module_forward_hook

dist.init_process_group("gloo")
RANK = dist.get_rank()
said, calls, hooked = [], [], []


def set_up_for_distributed(is_main):
    print_of_all = builtins.print

    def print_of_main(*values, force=False, **options):
        if options:
            print_of_all(*values, **options)
        elif is_main or force:
            said.append(" ".join(map(str, values)))

    builtins.print = print_of_main
    return print_of_all


print_of_all = set_up_for_distributed(RANK == 0)
all_reduce = dist.all_reduce


def counted(*args, **options):
    calls.append(RANK)
    return all_reduce(*args, **options)


dist.all_reduce = counted


@torch.compile(backend="eager")
def times_the_rank(x):
    y = x * RANK
    dist.all_reduce(y)
    return y + dist.get_rank()


@torch.library.custom_op("issues::plus_rank", mutates_args=())
def plus_rank(x: torch.Tensor) -> torch.Tensor:
    return x + RANK


handle = register_module_forward_hook(lambda *_: hooked.append(RANK))
torch.use_deterministic_algorithms(RANK % 2 == 0)
torch.set_printoptions(precision=RANK + 1)
dist.barrier()

print("of rank", RANK)
print("of each rank", force=True)
x = torch.ones(2)
dist.all_reduce(x)
dist.barrier()
nn.Linear(2, 2)(x)
compiled = [times_the_rank(torch.ones(size)) for size in (2, 3)]
mesh = init_device_mesh("cpu", (4,))
logits = distribute_tensor(torch.arange(32.0).view(4, 8).cos(), mesh, [Shard(1)]).requires_grad_()
with loss_parallel():
    loss = nn.functional.cross_entropy(logits, torch.tensor([1, 2, 3, 0]))
    loss.backward()
gradient = logits.grad.full_tensor()

handle.remove()
builtins.print, dist.all_reduce = print_of_all, all_reduce
text = str(torch.tensor(1 / 3))
deterministic = torch.are_deterministic_algorithms_enabled()
torch.use_deterministic_algorithms(False)
torch.set_printoptions(profile="default")
report(
    said=said,
    calls=calls,
    hooked=hooked,
    compiled=compiled,
    operator=plus_rank(torch.ones(1)),
    loss=loss,
    gradient=gradient,
    text=text,
    deterministic=deterministic,
)
