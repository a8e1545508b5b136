"""Programs of 4 ranks that hang, disagree or die, most of them small forms of what people reported.

    polyrank run --world threads --ranks 4 examples/broken_programs.py another_numel
    torchrun --nproc-per-node 4 examples/broken_programs.py another_numel

Rank 3 is the odd one out, where there is one. docs/broken_programs.md shows what each kind of world
says of each program, and after how long.
"""

import argparse
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn

ODD = 3

Program = Callable[[], None]
# By name: the program, and the issue that it is a small form of, if there is one.
PROGRAMS: dict[str, tuple[Program, str]] = {}


def broken(reported_in: str = "") -> Callable[[Program], Program]:
    """Add a program to the table, with the public issue that it is a small form of, if it is."""

    def add(program: Program) -> Program:
        PROGRAMS[program.__name__] = program, reported_in
        return program

    return add


def is_odd() -> bool:
    return dist.get_rank() == ODD


# --- Ranks launch different things ----------------------------------------------------------------


@broken("NVIDIA/nccl#296")
def another_collective() -> None:
    x = torch.ones(4)
    if is_odd():
        dist.broadcast(x, src=0)
    else:
        dist.all_reduce(x)


@broken("NVIDIA/nccl#1394")
def another_numel() -> None:
    dist.all_reduce(torch.ones(5 if is_odd() else 4))


@broken("NVIDIA/nccl#1417")
def another_shape() -> None:
    dist.all_reduce(torch.ones(2, 2) if is_odd() else torch.ones(4))


@broken("pytorch/pytorch#79901")
def another_dtype() -> None:
    dist.all_reduce(torch.ones(4, dtype=torch.float64 if is_odd() else torch.float32))


@broken()
def another_reduce_op() -> None:
    dist.all_reduce(torch.ones(4), op=dist.ReduceOp.MAX if is_odd() else dist.ReduceOp.SUM)


@broken()
def another_root() -> None:
    dist.broadcast(torch.ones(4), src=1 if is_odd() else 0)


@broken("horovod/horovod#2640")
def gradients_in_another_order() -> None:
    gradients = [torch.ones(4), torch.ones(6)]
    order = reversed(gradients) if is_odd() else gradients
    for work in [dist.all_reduce(gradient, async_op=True) for gradient in order]:
        work.wait()


@broken("NVIDIA/Megatron-LM#3025")
def pieces_of_another_size() -> None:
    sent = [2, 1, 1, 1] if is_odd() else [1, 1, 1, 1]
    x = torch.ones(sum(sent))
    dist.all_to_all_single(torch.empty(4), x, [1, 1, 1, 1], sent)


@broken()
def an_object_list_of_another_length() -> None:
    dist.broadcast_object_list([None] if is_odd() else ["a", "b"], src=0)


# --- A rank does not come -------------------------------------------------------------------------


@broken("Lightning-AI/pytorch-lightning#19106")
def a_call_left_out() -> None:
    if not is_odd():
        dist.all_reduce(torch.ones(4))
    dist.barrier()


@broken("Lightning-AI/pytorch-lightning#19680")
def a_metric_on_rank_0_only() -> None:
    for step in range(2):
        loss = torch.ones(1)
        dist.all_reduce(loss)
        if dist.get_rank() == 0 and step == 1:  # to log it
            dist.all_gather([torch.empty(1) for _ in range(4)], loss)


@broken("pytorch/pytorch#33148")
def fewer_batches() -> None:
    for _ in range(2 if is_odd() else 3):
        dist.all_reduce(torch.ones(4))


@broken("pytorch/pytorch#38174")
def fewer_batches_with_ddp() -> None:
    model = nn.parallel.DistributedDataParallel(nn.Linear(2, 1))
    for _ in range(1 if is_odd() else 2):
        model(torch.ones(3, 2)).sum().backward()


@broken("pytorch/ignite#664")
def early_stopping_by_the_own_loss() -> None:
    for epoch in range(3):
        loss = torch.tensor(float(dist.get_rank() + epoch))
        dist.all_reduce(torch.ones(4))
        if loss > ODD:  # rank 3 after the second epoch, the others later
            break


@broken("KempnerInstitute/KempnerForge#49")
def a_checkpoint_that_some_ranks_see() -> None:
    sees_it = not is_odd()  # os.path.exists() on a network file system
    if sees_it:
        dist.broadcast_object_list([{"step": 7}], src=0)
    dist.barrier()


@broken("ByteDance-Seed/VeOmni#1164")
def a_barrier_in_finally() -> None:
    try:
        if is_odd():
            raise OSError("no space left")
        dist.all_reduce(torch.ones(4))
    finally:
        dist.barrier()


@broken()
def a_rank_that_raises() -> None:
    if is_odd():
        raise ValueError("bad sample")
    dist.all_reduce(torch.ones(4))


@broken("lifeiteng/vall-e#93")
def one_rank_validates_while_others_train() -> None:
    if is_odd():
        dist.all_reduce(torch.zeros(1))  # the validation's loss
    for _ in range(2):
        dist.all_reduce(torch.ones(4))


@broken("pytorch/pytorch#128949")
def a_layer_that_one_rank_skips() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    model = nn.ModuleList([first, second])
    x = first(torch.ones(1, 2))
    (x if is_odd() else second(x)).sum().backward()
    for parameter in model.parameters():
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)


@broken()
def full_tensor_on_rank_0_only() -> None:
    from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

    mesh = init_device_mesh("cpu", (4,))
    weight = distribute_tensor(torch.ones(8, 2), mesh, [Shard(0)])
    if dist.get_rank() == 0:  # to save it
        weight.full_tensor()
    dist.barrier()


# --- Groups ---------------------------------------------------------------------------------------


@broken("meta-pytorch/torchrec#4149")
def groups_in_another_order() -> None:
    groups = [dist.new_group([0, 1, 2, 3]) for _ in range(2)]
    for group in reversed(groups) if is_odd() else groups:
        dist.all_reduce(torch.ones(4), group=group)


@broken("pytorch/pytorch#25390")
def a_group_made_by_its_members_only() -> None:
    if not is_odd():
        dist.new_group([0, 1, 2])
    everyone = dist.new_group([0, 1, 2, 3])
    dist.all_reduce(torch.ones(4), group=everyone)


@broken("pytorch/pytorch#130102")
def each_pair_makes_its_own_group() -> None:
    ranks = [0, 3] if dist.get_rank() in (0, 3) else [1, 2]
    dist.barrier(group=dist.new_group(ranks))


@broken("pytorch/pytorch#75755")
def a_group_of_others() -> None:
    group = dist.new_group([0, 1, 2])
    x = torch.ones(4)
    dist.all_reduce(x, group=group)  # does nothing on rank 3, which goes on
    if is_odd():
        dist.all_reduce(x)


@broken()
def a_collective_amid_messages() -> None:
    if dist.get_rank() == 0:
        dist.all_reduce(torch.ones(4))
        dist.send(torch.ones(1), dst=ODD)
    else:
        if is_odd():
            dist.recv(torch.empty(1), src=0)
        dist.all_reduce(torch.ones(4))


# --- Messages -------------------------------------------------------------------------------------


@broken("NVIDIA/nccl#479")
def everyone_receives_first() -> None:
    rank, size = dist.get_rank(), dist.get_world_size()
    dist.recv(torch.empty(1), src=(rank - 1) % size)
    dist.send(torch.ones(1), dst=(rank + 1) % size)


@broken("pytorch/PiPPy#969")
def stages_that_wait_for_a_skip_connection() -> None:
    rank = dist.get_rank()
    sent_before = {2: 0, 3: 1}  # the skip connection comes from two stages before
    if rank in sent_before:
        inputs = [
            dist.irecv(torch.empty(1), src=source) for source in (sent_before[rank], rank - 1)
        ]
        for work in inputs:
            work.wait()
    if rank == 1:
        dist.recv(torch.empty(1), src=2)  # its gradient, before it has sent on
    if rank < 3:
        dist.send(torch.ones(1), dst=rank + 1)
    if rank < 2:
        dist.send(torch.ones(1), dst=rank + 2)


@broken()
def a_message_of_another_size() -> None:
    if dist.get_rank() == 0:
        dist.send(torch.ones(5), dst=ODD)
    elif is_odd():
        dist.recv(torch.empty(4), src=0)


@broken()
def a_message_of_another_dtype() -> None:
    if dist.get_rank() == 0:
        dist.send(torch.ones(4, dtype=torch.int32), dst=ODD)
    elif is_odd():
        dist.recv(torch.empty(4), src=0)


@broken()
def another_tag() -> None:
    if dist.get_rank() == 0:
        dist.send(torch.ones(1), dst=ODD, tag=1)
    elif is_odd():
        dist.recv(torch.empty(1), src=0, tag=2)


@broken()
def a_message_from_nobody() -> None:
    if is_odd():
        dist.recv(torch.empty(1))  # from any rank


# --- Besides collectives --------------------------------------------------------------------------


@broken()
def a_key_that_nobody_sets() -> None:
    store = dist.distributed_c10d._get_default_store()
    if is_odd():
        store.get("address of the parameter server")
    dist.barrier()


def main() -> None:
    """Run one program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument(
        "--timeout", type=float, default=10, help="of the process group, in seconds"
    )
    options = parser.parse_args()
    dist.init_process_group("gloo", timeout=timedelta(seconds=options.timeout))
    PROGRAMS[options.program][0]()
    print(f"rank {dist.get_rank()}: {options.program} ended without an error", flush=True)


if __name__ == "__main__":
    main()
