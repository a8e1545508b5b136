"""Hugging Face transformers' Llama under FSDP2, to be forecast.

    polyrank forecast --cluster dgx-h100 --ranks 64 --time examples/forecast/transformers_llama_fsdp2.py

The model is the one of `LlamaConfig`'s sizes, with weights made up: no file is read.
"""

import argparse

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from transformers import LlamaConfig, LlamaForCausalLM

MIXED = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)


def parse_args() -> argparse.Namespace:
    """Sizes are Llama 3 8B's if not given."""
    parser = argparse.ArgumentParser(description="Steps of transformers' Llama with FSDP2.")
    parser.add_argument("--hidden", type=int, default=4096)
    parser.add_argument("--inner", type=int, default=14_336, help="width of the feed-forward part")
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--kv-heads", type=int, default=8)
    parser.add_argument("--words", type=int, default=128_256)
    parser.add_argument("--batch", type=int, default=1, help="sequences of a rank")
    parser.add_argument("--length", type=int, default=8192)
    parser.add_argument(
        "--checkpoints", action="store_true", help="compute layers again in backward"
    )
    return parser.parse_args()


def make_model(args: argparse.Namespace) -> nn.Module:
    config = LlamaConfig(
        hidden_size=args.hidden,
        intermediate_size=args.inner,
        num_hidden_layers=args.layers,
        num_attention_heads=args.heads,
        num_key_value_heads=args.kv_heads,
        vocab_size=args.words,
        max_position_embeddings=args.length,
        attn_implementation="sdpa",
        use_cache=False,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    if args.checkpoints:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    mesh = init_device_mesh("cuda", (dist.get_world_size(),))
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=MIXED)
    fully_shard(model, mesh=mesh, mp_policy=MIXED)
    sharded: nn.Module = model.to_empty(device="cuda")
    return sharded


def main() -> None:
    args = parse_args()
    dist.init_process_group()
    torch.cuda.set_device(dist.get_rank() % torch.cuda.device_count())
    model = make_model(args)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, fused=True)
    for _ in range(3):
        tokens = torch.randint(args.words, (args.batch, args.length)).cuda()
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
