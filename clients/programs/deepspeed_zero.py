"""DeepSpeed: ZeRO of the stage that is named, with a checkpoint that another engine goes on from."""

import sys
import tempfile

import deepspeed
import torch
import torch.distributed as dist
from results import report

STAGE = int(sys.argv[1])


def network():
    torch.manual_seed(4)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))


def engine_of(net):
    return deepspeed.initialize(
        model=net,
        model_parameters=net.parameters(),
        config={
            "train_micro_batch_size_per_gpu": 2,
            "gradient_accumulation_steps": 2,
            "gradient_clipping": 1.0,
            "optimizer": {"type": "AdamW", "params": {"lr": 0.05, "torch_adam": True}},
            "zero_optimization": {"stage": STAGE, "stage3_param_persistence_threshold": 0},
        },
    )[0]


def step(engine, number):
    torch.manual_seed(100 * dist.get_rank() + number)
    x, y = torch.randn(2, 4, device=engine.device), torch.randn(2, 1, device=engine.device)
    loss = (engine(x) - y).square().mean()
    engine.backward(loss)
    engine.step()
    return loss.item()


deepspeed.init_distributed()
first = engine_of(network())
losses = [step(first, number) for number in range(4)]
folder = [tempfile.mkdtemp()]
dist.broadcast_object_list(folder)
first.save_checkpoint(folder[0])
losses += [step(first, number) for number in range(4, 8)]
second = engine_of(network())
second.load_checkpoint(folder[0])
again = [step(second, number) for number in range(4, 8)]
assert again == losses[4:], (again, losses[4:])
report(losses=losses, norm=float(second.get_global_grad_norm()))
dist.destroy_process_group()
