"""Megatron-core: a small GPT, cut as the arguments say, with the distributed optimizer and a checkpoint.

megatron_gpt.py [--tp N] [--pp N] [--vpp N] [--ep N]
"""

import argparse
import tempfile

import torch
import torch.distributed as dist
from megatron.core import dist_checkpointing, parallel_state
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig
from megatron.core.distributed.finalize_model_grads import finalize_model_grads
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.models.gpt.gpt_model import GPTModel
from megatron.core.optimizer import OptimizerConfig, get_megatron_optimizer
from megatron.core.pipeline_parallel import get_forward_backward_func
from megatron.core.tensor_parallel.random import model_parallel_cuda_manual_seed
from megatron.core.transformer.moe import moe_utils
from megatron.core.transformer.transformer_config import TransformerConfig
from results import digest, is_fake, report

# 0.16.1 forgets to define it where transformer_engine is not installed.
if not hasattr(moe_utils, "te_general_gemm"):
    moe_utils.te_general_gemm = None

LENGTH, BATCH, WORDS, MICROBATCHES = 16, 2, 32, 4


def sizes_given():
    arguments = argparse.ArgumentParser()
    for size in ("--tp", "--pp", "--vpp", "--ep"):
        arguments.add_argument(size, type=int, default=1)
    return arguments.parse_args()


def config_of(sizes):
    mixture = (
        {"num_moe_experts": 4, "moe_router_topk": 2, "moe_token_dispatcher_type": "alltoall"}
        if sizes.ep > 1
        else {}
    )
    return TransformerConfig(
        num_layers=4,
        hidden_size=16,
        num_attention_heads=4,
        add_bias_linear=sizes.ep == 1,
        tensor_model_parallel_size=sizes.tp,
        pipeline_model_parallel_size=sizes.pp,
        virtual_pipeline_model_parallel_size=sizes.vpp if sizes.vpp > 1 else None,
        expert_model_parallel_size=sizes.ep,
        use_cpu_initialization=True,
        pipeline_dtype=torch.float32,
        attention_dropout=0.0,
        hidden_dropout=0.0,
        bias_dropout_fusion=False,
        gradient_accumulation_fusion=False,
        finalize_model_grads_func=finalize_model_grads,
        **mixture,
    )


def chunk_of(config, stage):
    """The part of the model that is `stage` of those on this rank; None is all of it."""
    torch.manual_seed(1000 * parallel_state.get_pipeline_model_parallel_rank() + (stage or 0))
    model = GPTModel(
        config,
        get_gpt_layer_local_spec(num_experts=config.num_moe_experts),
        vocab_size=WORDS,
        max_sequence_length=LENGTH,
        pre_process=parallel_state.is_pipeline_first_stage(ignore_virtual=False, vp_stage=stage),
        post_process=parallel_state.is_pipeline_last_stage(ignore_virtual=False, vp_stage=stage),
        vp_stage=stage,
    ).cuda()
    ddp = DistributedDataParallelConfig(use_distributed_optimizer=True, overlap_grad_reduce=False)
    return DistributedDataParallel(config, ddp, model)


def batches(step):
    draw = torch.Generator().manual_seed(1000 * parallel_state.get_data_parallel_rank() + step)
    while True:
        yield torch.randint(WORDS, (BATCH, LENGTH), generator=draw).cuda()


def forward(iterator, model):
    tokens = next(iterator)
    positions = torch.arange(LENGTH, device="cuda").expand(BATCH, LENGTH)
    mask = torch.ones(1, 1, LENGTH, LENGTH, device="cuda").triu(1).bool()
    output = model(tokens, positions, mask, labels=tokens)
    return output, lambda losses: (losses.mean(), {"loss": losses.mean().detach()})


def trained(chunks):
    optimizer = get_megatron_optimizer(
        OptimizerConfig(optimizer="adam", lr=0.01, use_distributed_optimizer=True), chunks
    )
    losses = []
    for step in range(3):
        for chunk in chunks:
            chunk.zero_grad_buffer()
        optimizer.zero_grad()
        told = get_forward_backward_func()(
            forward_step_func=forward,
            data_iterator=[batches(step) for _ in chunks] if len(chunks) > 1 else batches(step),
            model=chunks if len(chunks) > 1 else chunks[0],
            num_microbatches=MICROBATCHES,
            seq_length=LENGTH,
            micro_batch_size=BATCH,
        )
        optimizer.step()
        losses.append([one["loss"].item() for one in told])
    return losses


def saved_and_loaded(chunk):
    folder = [tempfile.mkdtemp()]
    dist.broadcast_object_list(folder)
    dist_checkpointing.save(chunk.module.sharded_state_dict(), folder[0])
    before = digest(chunk)
    with torch.no_grad():
        for parameter in chunk.parameters():
            parameter.zero_()
    chunk.module.load_state_dict(
        dist_checkpointing.load(chunk.module.sharded_state_dict(), folder[0])
    )
    assert digest(chunk) == before


def main():
    sizes = sizes_given()
    dist.init_process_group()
    torch.cuda.set_device(dist.get_rank() % torch.cuda.device_count())
    config = config_of(sizes)
    parallel_state.initialize_model_parallel(
        tensor_model_parallel_size=sizes.tp,
        pipeline_model_parallel_size=sizes.pp,
        virtual_pipeline_model_parallel_size=config.virtual_pipeline_model_parallel_size,
        expert_model_parallel_size=sizes.ep,
    )
    model_parallel_cuda_manual_seed(123)
    chunks = [chunk_of(config, stage if sizes.vpp > 1 else None) for stage in range(sizes.vpp)]
    losses = trained(chunks)
    if sizes.vpp == 1 and not is_fake():  # one rank's shards are no whole checkpoint
        saved_and_loaded(chunks[0])
    report(losses=losses, parameters=[digest(chunk) for chunk in chunks])
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
