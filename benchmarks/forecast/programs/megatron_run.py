"""Megatron-core's GPT on a row of measured_runs.csv whose layers were Transformer Engine's.

    polyrank forecast … megatron_run.py '{"layers": 12, "hidden": 8192, …}'

Layers are Megatron's own, and take what Transformer Engine's keep for backward: a norm its input, a matmul
its input, attention what a fused kernel keeps, SwiGLU its input. As there, gradients of weights are added to
the float buffers by the matmul itself, and autograd is given a tensor without meaning in their stead, one for
each shape, which stays; SwiGLU makes nothing but its results; the loss makes gradients of logits in their own
memory; the optimizer is one kernel. Transformer Engine's kernels' own workspaces are not counted.
"""

import functools
import json
import sys
import types
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

# Megatron adds gradients of weights by a kernel of Apex; this is the matmul of cuBLAS behind it.
kernels = types.ModuleType("fused_weight_gradient_mlp_cuda")


def add_gradient_of_weight(inputs: Tensor, gradient: Tensor, total: Tensor) -> None:
    torch.addmm(total, gradient.t(), inputs, out_dtype=torch.float32, out=total)


kernels.wgrad_gemm_accum_fp32 = add_gradient_of_weight  # type: ignore[attr-defined]
sys.modules[kernels.__name__] = kernels


class FusedAdamW(torch.optim.AdamW):
    """Megatron takes PyTorch's where it finds no other."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **(settings | {"fused": True}))


torch.optim.AdamW = FusedAdamW  # type: ignore[misc]


@functools.cache
def gradient_without_meaning(rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(rows, columns, dtype=dtype, device="cuda")


def swiglu(y: Tensor) -> Tensor:
    gate, up = y.chunk(2, -1)
    return nn.functional.silu(gate).mul_(up)


def swiglu_back(gradient: Tensor, y: Tensor) -> Tensor:
    gate, up = y.chunk(2, -1)
    made = torch.empty_like(y)
    of_gate, of_up = made.chunk(2, -1)
    torch.mul(gradient, up, out=of_gate)
    torch.ops.aten.silu_backward.grad_input(of_gate, gate, grad_input=of_gate)
    torch.ops.aten.silu.out(gate, out=of_up)
    of_up.mul_(gradient)
    return made


from megatron.core import parallel_state  # noqa: E402
from megatron.core.distributed import (  # noqa: E402
    DistributedDataParallel,
    DistributedDataParallelConfig,
)
from megatron.core.distributed.finalize_model_grads import finalize_model_grads  # noqa: E402
from megatron.core.fusions import fused_bias_swiglu  # noqa: E402
from megatron.core.models.common.language_module import language_module  # noqa: E402
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec  # noqa: E402
from megatron.core.models.gpt.gpt_model import GPTModel  # noqa: E402
from megatron.core.optimizer import OptimizerConfig, get_megatron_optimizer  # noqa: E402
from megatron.core.pipeline_parallel import get_forward_backward_func  # noqa: E402
from megatron.core.tensor_parallel import layers  # noqa: E402
from megatron.core.tensor_parallel.random import model_parallel_cuda_manual_seed  # noqa: E402
from megatron.core.transformer.module import Float16Module  # noqa: E402
from megatron.core.transformer.transformer_block import (  # noqa: E402
    TransformerBlockSubmodules,
    get_num_layers_to_build,
)
from megatron.core.transformer.transformer_config import TransformerConfig  # noqa: E402

STEPS = 100

language_module.te_parallel_cross_entropy = lambda logits, labels, *_: CrossEntropyInPlace.apply(
    logits, labels
)
layers.HAVE_TE = True
layers.get_dummy_wgrad = lambda shape, dtype, **_: gradient_without_meaning(*shape, dtype).detach()
fused_bias_swiglu.swiglu = swiglu
fused_bias_swiglu.swiglu_back = swiglu_back


class CrossEntropyInPlace(torch.autograd.Function):
    """Transformer Engine's: logits are read, and then are their own gradients."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        losses = logits.amax(-1).float()
        ctx.save_for_backward(logits.detach().neg_())
        return losses

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (of_logits,) = ctx.saved_tensors
        return of_logits.mul_(gradients[0].unsqueeze(-1).to(of_logits.dtype)), None


class FusedAttention(nn.Module):
    """One kernel of cuDNN's; queries and keys are (length, batch, heads, size)."""

    def __init__(self, config: Any, **_: Any) -> None:
        super().__init__()

    def forward(self, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
        heads_first = (one.permute(1, 2, 0, 3) for one in (query, key, value))
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
            attended = nn.functional.scaled_dot_product_attention(
                *heads_first, is_causal=True, enable_gqa=True
            )
        return attended.permute(2, 0, 1, 3).flatten(2)


class Norm(nn.RMSNorm):
    """Of Megatron's arguments."""

    def __init__(self, config: Any, hidden_size: int, eps: float = 1e-5, **_: Any) -> None:
        super().__init__(hidden_size, eps)
        self.weight.sequence_parallel = config.sequence_parallel  # type: ignore[attr-defined]


def layers_of(config: TransformerConfig) -> TransformerBlockSubmodules:
    spec = get_gpt_layer_local_spec(normalization="RMSNorm")
    spec.submodules.input_layernorm = Norm
    spec.submodules.pre_mlp_layernorm = Norm
    spec.submodules.self_attention.submodules.core_attention = FusedAttention
    return TransformerBlockSubmodules([spec] * get_num_layers_to_build(config), Norm)


def config_of(run: dict[str, Any]) -> TransformerConfig:
    return TransformerConfig(
        num_layers=run["layers"],
        hidden_size=run["hidden"],
        ffn_hidden_size=run["ffn"],
        num_attention_heads=run["heads"],
        num_query_groups=run["kv_heads"],
        tensor_model_parallel_size=run["tp"],
        pipeline_model_parallel_size=run["pp"],
        sequence_parallel=run["tp"] > 1,
        normalization="RMSNorm",
        gated_linear_unit=True,
        activation_func=nn.functional.silu,
        add_bias_linear=False,
        bf16=True,
        params_dtype=torch.bfloat16,
        pipeline_dtype=torch.bfloat16,
        attention_dropout=0.0,
        hidden_dropout=0.0,
        bias_activation_fusion=True,
        bias_dropout_fusion=False,
        gradient_accumulation_fusion=True,
        masked_softmax_fusion=False,
        cross_entropy_loss_fusion=True,
        cross_entropy_fusion_impl="te",
        finalize_model_grads_func=finalize_model_grads,
    )


def make_model(run: dict[str, Any], config: TransformerConfig) -> DistributedDataParallel:
    """This rank's stage."""
    multiple = 128 * run["tp"]
    model = GPTModel(
        config,
        layers_of(config),
        vocab_size=-(-run["vocab"] // multiple) * multiple,
        max_sequence_length=run["seq"],
        pre_process=parallel_state.is_pipeline_first_stage(),
        post_process=parallel_state.is_pipeline_last_stage(),
        share_embeddings_and_output_weights=False,
        position_embedding_type="rope",
        rotary_base=500_000,
    ).cuda()
    ddp = DistributedDataParallelConfig(use_distributed_optimizer=True, grad_reduce_in_fp32=True)
    return DistributedDataParallel(config, ddp, Float16Module(config, model))


def batches(run: dict[str, Any]) -> Iterator[Tensor]:
    while True:
        yield torch.zeros(run["batch"], run["seq"], dtype=torch.int64).cuda()


def forward(iterator: Iterator[Tensor], model: nn.Module) -> Any:
    tokens = next(iterator)
    positions = torch.arange(tokens.shape[1], device="cuda").expand_as(tokens)
    losses = model(tokens, positions, None, labels=tokens)
    return losses, lambda output: (output.float().mean(), {"loss": output.detach().mean()})


def main() -> None:
    run = json.loads(sys.argv[1])
    dist.init_process_group()
    torch.cuda.set_device(dist.get_rank() % torch.cuda.device_count())
    parallel_state.initialize_model_parallel(
        tensor_model_parallel_size=run["tp"], pipeline_model_parallel_size=run["pp"]
    )
    model_parallel_cuda_manual_seed(123)
    config = config_of(run)
    model = make_model(run, config)
    settings = OptimizerConfig(optimizer="adam", lr=1e-4, bf16=True, use_distributed_optimizer=True)
    optimizer = get_megatron_optimizer(settings, [model])
    for _ in range(STEPS):
        model.zero_grad_buffer()
        optimizer.zero_grad()
        get_forward_backward_func()(
            forward_step_func=forward,
            data_iterator=batches(run),
            model=model,
            num_microbatches=run["microbatches"],
            seq_length=run["seq"],
            micro_batch_size=run["batch"],
        )
        optimizer.step()


main()
