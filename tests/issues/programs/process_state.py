"""What PyTorch and Python keep once a process: hooks, settings, operators, profilers, handlers."""

import os
import signal
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from report import report
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.parallel import DistributedDataParallel
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.profiler import ProfilerActivity, profile

dist.init_process_group("gloo")
rank = dist.get_rank()

modules, steps = [], []
hooks = [
    register_module_forward_hook(
        lambda module, inputs, output: modules.append(type(module).__name__)
    ),
    register_optimizer_step_post_hook(lambda optimizer, *rest: steps.append(rank)),
]
torch.manual_seed(0)
model = DistributedDataParallel(nn.Linear(2, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(2):
    optimizer.zero_grad()
    model(torch.full((1, 2), float(rank))).sum().backward()
    optimizer.step()
dist.barrier()
for hook in hooks:
    hook.remove()

with profile(activities=[ProfilerActivity.CPU]) as profiled:
    for _ in range(rank + 1):
        torch.ones(8, 8) @ torch.ones(8, 8)
    dist.barrier()


@torch.library.custom_op("issues::times_rank", mutates_args=())
def times_rank(x: torch.Tensor) -> torch.Tensor:
    return x * rank


times_rank.register_autograd(lambda context, gradient: gradient * rank)
dist.barrier()
x = torch.ones(2, requires_grad=True)
y = times_rank(x)
dist.barrier()
y.sum().backward()

got = []
before = signal.signal(signal.SIGUSR2, lambda number, frame: got.append(rank))
dist.barrier()
os.kill(os.getpid(), signal.SIGUSR2)
signal.signal(signal.SIGUSR2, before)

home = Path.cwd()
folder = tempfile.mkdtemp(prefix=f"rank{rank}_")
os.chdir(folder)
torch.set_default_dtype(torch.float64 if rank % 2 else torch.float32)
torch.use_deterministic_algorithms(rank == 1)
dist.barrier()
seen = [
    str(Path.cwd()) == folder,
    str(torch.zeros(1).dtype),
    torch.are_deterministic_algorithms_enabled(),
]
torch.set_default_dtype(torch.float32)
torch.use_deterministic_algorithms(False)
os.chdir(home)

report(
    modules=modules,
    steps=steps,
    weight=model.module.weight,
    products=sum(event.name == "aten::mm" for event in profiled.events()),
    operator=[y, x.grad],
    signals=got,
    seen=seen,
)
