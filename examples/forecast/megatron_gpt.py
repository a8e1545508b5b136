"""Megatron-core's GPT with tensor, pipeline and data parallelism and the distributed optimizer, to be forecast.

    polyrank forecast --cluster dgx-h100 --ranks 64 --stages --time examples/forecast/megatron_gpt.py --tp 4 --pp 4

Layers are Megatron's own (`get_gpt_layer_local_spec`), as without Transformer Engine.
"""

import argparse
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig
from megatron.core.distributed.finalize_model_grads import finalize_model_grads
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.models.gpt.gpt_model import GPTModel
from megatron.core.optimizer import OptimizerConfig, get_megatron_optimizer
from megatron.core.pipeline_parallel import get_forward_backward_func
from megatron.core.tensor_parallel.random import model_parallel_cuda_manual_seed
from megatron.core.transformer.module import Float16Module
from megatron.core.transformer.transformer_config import TransformerConfig


def parse_args() -> argparse.Namespace:
    """Sizes are those of a GPT of 7 billion parameters if not given."""
    parser = argparse.ArgumentParser(description="Steps of Megatron-core's GPT.")
    parser.add_argument("--tp", type=int, default=1, help="tensor parallel ranks")
    parser.add_argument("--pp", type=int, default=1, help="stages of the pipeline")
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=4096)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--words", type=int, default=51_200)
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--micro", type=int, default=1, help="sequences of a microbatch")
    parser.add_argument("--microbatches", type=int, default=8, help="of a step")
    return parser.parse_args()


def make_model(args: argparse.Namespace) -> DistributedDataParallel:
    """This rank's stage."""
    config = TransformerConfig(
        num_layers=args.layers,
        hidden_size=args.hidden,
        num_attention_heads=args.heads,
        tensor_model_parallel_size=args.tp,
        pipeline_model_parallel_size=args.pp,
        bf16=True,
        params_dtype=torch.bfloat16,
        pipeline_dtype=torch.bfloat16,
        attention_dropout=0.0,
        hidden_dropout=0.0,
        bias_dropout_fusion=False,
        gradient_accumulation_fusion=False,
        masked_softmax_fusion=False,
        finalize_model_grads_func=finalize_model_grads,
    )
    model = GPTModel(
        config,
        get_gpt_layer_local_spec(),
        vocab_size=args.words,
        max_sequence_length=args.length,
        pre_process=parallel_state.is_pipeline_first_stage(),
        post_process=parallel_state.is_pipeline_last_stage(),
    ).cuda()
    ddp = DistributedDataParallelConfig(use_distributed_optimizer=True, grad_reduce_in_fp32=True)
    return DistributedDataParallel(config, ddp, Float16Module(config, model))


def batches(args: argparse.Namespace) -> Iterator[torch.Tensor]:
    while True:
        yield torch.randint(args.words, (args.micro, args.length)).cuda()


def forward(iterator: Iterator[torch.Tensor], model: torch.nn.Module) -> Any:
    tokens = next(iterator)
    length = tokens.shape[1]
    positions = torch.arange(length, device="cuda").expand_as(tokens)
    mask = torch.ones(1, 1, length, length, device="cuda").triu(1).bool()
    losses = model(tokens, positions, mask, labels=tokens)
    return losses, lambda output: (output.float().mean(), {"loss": output.detach().mean()})


def main() -> None:
    args = parse_args()
    dist.init_process_group()
    torch.cuda.set_device(dist.get_rank() % torch.cuda.device_count())
    parallel_state.initialize_model_parallel(
        tensor_model_parallel_size=args.tp, pipeline_model_parallel_size=args.pp
    )
    model_parallel_cuda_manual_seed(123)
    model = make_model(args)
    settings = OptimizerConfig(optimizer="adam", lr=1e-4, bf16=True, use_distributed_optimizer=True)
    optimizer = get_megatron_optimizer(settings, [model])
    for _ in range(3):
        model.zero_grad_buffer()
        optimizer.zero_grad()
        get_forward_backward_func()(
            forward_step_func=forward,
            data_iterator=batches(args),
            model=model,
            num_microbatches=args.microbatches,
            seq_length=args.length,
            micro_batch_size=args.micro,
        )
        optimizer.step()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
