"""torchtitan 0.3.0's trainer on a row of measured_runs.csv: its own model, parallelism, optimizer and
loop, set as the versions that the rows are of had them ("as_of": rebuild.py says since when they have not).

    polyrank forecast … torchtitan_run.py '{"model": "8B", "seq": 8192, …}'

Data is made up: its values hold no memory.
"""

import dataclasses
import functools
import json
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import spmd_types as spmd
import torch
import torch.distributed as dist
import torchtitan.distributed.activation_checkpoint
import torchtitan.distributed.fsdp
import torchtitan.models.llama3
import torchtitan.models.qwen3
import torchtitan.models.qwen3.sharding
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.attention import SDPBackend
from torchtitan.components.checkpoint import CheckpointManager
from torchtitan.components.dataloader import BaseDataLoader
from torchtitan.components.loss import CrossEntropyLoss
from torchtitan.components.optimizer import default_adamw
from torchtitan.components.tokenizer import BaseTokenizer
from torchtitan.components.validate import Validator
from torchtitan.config import ParallelismConfig, TrainingConfig
from torchtitan.distributed.activation_checkpoint import FullAC, SelectiveAC
from torchtitan.models.common.attention import ScaledDotProductAttention
from torchtitan.models.common.config_utils import decoder_vocab_size
from torchtitan.models.common.decoder import Decoder
from torchtitan.models.common.decoder_sharding import dense_activation_placement
from torchtitan.models.common.embedding import Embedding
from torchtitan.models.common.nn_modules import RMSNorm
from torchtitan.models.common.rope import CosSinRoPE

# Added in torch 2.14; nothing times out in one process.
if not hasattr(dist, "set_timeout"):
    dist.set_timeout = lambda *args, **kwargs: None

attention = ScaledDotProductAttention.forward
checkpoint_wrapper = torchtitan.distributed.activation_checkpoint.ptd_checkpoint_wrapper
forward = Decoder.forward
shards_layer = torchtitan.models.qwen3.sharding._set_qwen3_layer_sharding

CHECKPOINTING = {"none": None, "full": FullAC.Config, "selective op": SelectiveAC.Config}


def own_norm(self: RMSNorm, x: Tensor) -> Tensor:
    """As torchtitan's was: rounded before it is multiplied by the weight."""
    wide = x.float()
    scaled = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
    return scaled.type_as(x) * self.weight


def composite_norm(self: RMSNorm, x: Tensor) -> Tensor:
    """As PyTorch made it of others: rounded at the end."""
    wide = x.float()
    scaled = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
    return (scaled * self.weight).type_as(x)


def shards_layers_and_all(module: Any, **settings: Any) -> Any:
    """FSDP as it was: what is no layer is the whole model's, and the last layer stays whole."""
    parts = module if isinstance(module, list) else [module]
    if all(isinstance(part, (Embedding, RMSNorm, nn.Linear)) for part in parts):
        return None
    sharded = fully_shard(module, **settings)
    if layers := getattr(module, "layers", None):
        list(layers.values())[-1].set_reshard_after_forward(False)
    return sharded


def repeated(x: Tensor, times: int) -> Tensor:
    """Each head so many times, in memory of their own."""
    batch, length, heads, size = x.shape
    wide = x[:, :, :, None, :].expand(batch, length, heads, times, size)
    return wide.reshape(batch, length, heads * times, size)


@functools.wraps(attention)  # torchtitan asks for its arguments' names
def attends_to_repeated(
    self: Any, q: Tensor, k: Tensor, v: Tensor, *, enable_gqa: bool = False, **settings: Any
) -> Tensor:
    """Attention, whose kernel knew of no heads that share keys and values."""
    times = q.shape[2] // k.shape[2]
    return attention(self, q, repeated(k, times), repeated(v, times), **settings)


def stops_early(module: nn.Module, **settings: Any) -> nn.Module:
    """A checkpoint that recomputes no more than is needed."""
    return checkpoint_wrapper(module, **(settings | {"early_stop": True}))


def rotated_in_half_precision(query: Tensor, key: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
    """Qwen3's rotary embedding, of the model's own type."""
    cos, sin = (part.to(query.dtype) for part in cache.chunk(2, dim=-1))
    half = CosSinRoPE._rotate_half
    return query * cos + half(query) * sin, key * cos + half(key) * sin


def gathers_normed_heads(layer: Any, **settings: Any) -> None:
    """Qwen3's tensor parallelism: norms of queries and keys gave all heads to all ranks, and attention
    took its own of them again.
    """
    shards_layer(layer, **settings)
    attention = layer.attention
    everywhere = dense_activation_placement(tp=spmd.R)
    normed = dataclasses.replace(attention.qk_norm.sharding_config, out_dst_shardings=everywhere)
    attention.qk_norm.sharding_config = normed
    attention.inner_attention.sharding_config = None


def forward_to_float(self: Decoder, *args: Any, **settings: Any) -> Tensor:
    """The model's results in float; the loss took them as they were."""
    return forward(self, *args, **settings).float()


def set_model(as_of: list[str]) -> None:
    """Sets models and checkpoints as they were then."""
    if "half_rope" in as_of:
        CosSinRoPE.apply_rotary_emb = staticmethod(rotated_in_half_precision)
    if "gathered_heads" in as_of:
        torchtitan.models.qwen3.sharding._set_qwen3_layer_sharding = gathers_normed_heads
    if "float_results" in as_of:
        Decoder.forward = forward_to_float
    if "stops_early" in as_of:
        torchtitan.distributed.activation_checkpoint.ptd_checkpoint_wrapper = stops_early
    if "repeats_kv" in as_of:
        ScaledDotProductAttention.forward = attends_to_repeated
    if "separate_qkv" in as_of:
        for models in (torchtitan.models.llama3, torchtitan.models.qwen3):
            make = models.make_gqa_config
            models.make_gqa_config = functools.partial(separate_qkv, make)


def separate_qkv(make: Any, **settings: Any) -> Any:
    """Attention's settings, with a matrix each."""
    return make(**(settings | {"fuse_qkv": False}))


def set_versions(as_of: list[str]) -> None:
    """Sets torchtitan as it was then."""
    # scaled_dot_product_attention chose by itself.
    backends = [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
    if "cudnn_attention" in as_of:
        backends.insert(0, SDPBackend.CUDNN_ATTENTION)
        kept = SelectiveAC.get_save_ops
        unknown = {torch.ops.aten._scaled_dot_product_cudnn_attention.default}
        SelectiveAC.get_save_ops = lambda self: kept(self) - unknown
    ScaledDotProductAttention.sdpa_backends = backends
    if "own_norm" in as_of:
        RMSNorm.forward = own_norm
    elif "composite_norm" in as_of:
        RMSNorm.forward = composite_norm
    if "one_root_group" in as_of:
        torchtitan.distributed.fsdp.fully_shard = shards_layers_and_all
    set_model(as_of)


class NoTokenizer(BaseTokenizer):
    @dataclasses.dataclass(kw_only=True, slots=True)
    class Config(BaseTokenizer.Config):
        pass

    def __init__(self, config: Any, **_: Any) -> None:
        super().__init__()

    def encode(self, *args: Any, **kwargs: Any) -> list[int]:
        raise NotImplementedError

    def decode(self, *args: Any, **kwargs: Any) -> str:
        raise NotImplementedError

    def get_vocab_size(self) -> int:
        raise NotImplementedError


class MadeUpData(BaseDataLoader):
    @dataclasses.dataclass(kw_only=True, slots=True)
    class Config(BaseDataLoader.Config):
        pass

    def __init__(self, config: Any, *, seq_len: int, local_batch_size: int, **_: Any) -> None:
        self._shape = (local_batch_size, seq_len)

    def __iter__(self) -> Iterator[Any]:
        while True:
            tokens = torch.ones(self._shape, dtype=torch.int64)
            yield {"input": tokens}, tokens.clone()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass


def spec_of(family: str, flavor: str) -> Any:
    if family == "qwen3":
        from torchtitan.models.qwen3 import model_registry
    else:
        from torchtitan.models.llama3 import model_registry
    spec = model_registry(flavor)
    for layer in spec.model.layers:
        layer.attention.inner_attention = ScaledDotProductAttention.Config()
    return spec


def optimizer_of(run: dict[str, Any]) -> Any:
    kind = "foreach" if "foreach_optimizer" in run["as_of"] else "fused"
    return dataclasses.replace(default_adamw(lr=3e-4), implementation=kind)


def config_of(run: dict[str, Any]) -> Any:
    from torchtitan.trainer import Trainer

    spec = spec_of(run["family"], run["flavor"])
    checkpointing = CHECKPOINTING[run["ac"]]
    return Trainer.Config(
        model_spec=spec,
        loss=CrossEntropyLoss.Config(global_vocab_size=decoder_vocab_size(spec)),
        optimizer=optimizer_of(run),
        tokenizer=NoTokenizer.Config(),
        dataloader=MadeUpData.Config(),
        dump_folder=tempfile.mkdtemp(),
        training=TrainingConfig(
            local_batch_size=run["batch"],
            seq_len=run["seq"],
            steps=100,
            disable_cuda_graphs=True,
        ),
        parallelism=ParallelismConfig(
            data_parallel_replicate_degree=run["dp_replicate"],
            data_parallel_shard_degree=run["fsdp"],
            tensor_parallel_degree=run["tp"],
            fsdp_reshard_after_forward=run["reshard"],
            spmd_backend="partial_dtensor",
        ),
        activation_checkpoint=checkpointing and checkpointing(),
        checkpoint=CheckpointManager.Config(enable=False),
        validator=Validator.Config(enable=False),
    )


run = json.loads(sys.argv[1])
set_versions(run["as_of"])
torch.use_deterministic_algorithms(run["deterministic"])
trainer = config_of(run).build()
trainer.train()
