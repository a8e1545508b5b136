"""A small Llama-style transformer: RMSNorm, rotary embeddings, grouped-query attention, SwiGLU.

Shapes: B sequences of S tokens; a model of width D with H heads of D/H features, and K key/value
heads, each shared by H/K query heads. Under tensor parallelism a rank has a part of the heads, so
the number of heads is read off the projections' outputs and not off the configuration.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class ModelConfig:
    vocab_size: int = 256
    dim: int = 64
    num_layers: int = 2
    num_heads: int = 8
    num_kv_heads: int = 4
    hidden_dim: int = 192
    max_seq_len: int = 64
    rope_theta: float = 10_000.0

    @property
    def head_dim(self) -> int:
        return self.dim // self.num_heads


def rotations(config: ModelConfig) -> Tensor:
    """Cos and sin of each position's angles: (2, max_seq_len, head_dim / 2)."""
    exponents = torch.arange(0, config.head_dim, 2).float() / config.head_dim
    frequencies = config.rope_theta**-exponents
    angles = torch.outer(torch.arange(config.max_seq_len).float(), frequencies)
    return torch.stack([angles.cos(), angles.sin()])


def rotate(x: Tensor, rope: Tensor) -> Tensor:
    """Rotates each pair of features of x (B, S, heads, head_dim) by its position's angle."""
    cos, sin = rope[:, : x.shape[1], None, :]
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


class Attention(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        kv_dim = config.num_kv_heads * config.head_dim
        self.wq = nn.Linear(config.dim, config.dim, bias=False)
        self.wk = nn.Linear(config.dim, kv_dim, bias=False)
        self.wv = nn.Linear(config.dim, kv_dim, bias=False)
        self.wo = nn.Linear(config.dim, config.dim, bias=False)

    def forward(self, x: Tensor, rope: Tensor) -> Tensor:
        batch, length, _ = x.shape
        q, k, v = (
            weight(x).view(batch, length, -1, self.head_dim)
            for weight in (self.wq, self.wk, self.wv)
        )
        q, k = rotate(q, rope), rotate(k, rope)
        heads = [t.transpose(1, 2) for t in (q, k, v)]
        attended = functional.scaled_dot_product_attention(*heads, is_causal=True, enable_gqa=True)
        return self.wo(attended.transpose(1, 2).reshape(batch, length, -1))


class FeedForward(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.w1 = nn.Linear(config.dim, config.hidden_dim, bias=False)
        self.w2 = nn.Linear(config.hidden_dim, config.dim, bias=False)
        self.w3 = nn.Linear(config.dim, config.hidden_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(functional.silu(self.w1(x)) * self.w3(x))


class TransformerBlock(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.feed_forward = FeedForward(config)
        self.attention_norm = nn.RMSNorm(config.dim)
        self.ffn_norm = nn.RMSNorm(config.dim)

    def forward(self, x: Tensor, rope: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), rope)
        return x + self.feed_forward(self.ffn_norm(x))


class Transformer(nn.Module):
    """The whole model. A stage of a pipeline has None in place of the modules of other stages."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.dim)
        self.layers = nn.ModuleDict(
            {str(i): TransformerBlock(config) for i in range(config.num_layers)}
        )
        self.norm = nn.RMSNorm(config.dim)
        self.output = nn.Linear(config.dim, config.vocab_size, bias=False)
        self.register_buffer("rope", rotations(config), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, S, vocab_size) of tokens (B, S); a stage gets and gives (B, S, dim) instead."""
        x = tokens if self.tok_embeddings is None else self.tok_embeddings(tokens)
        for layer in self.layers.values():
            x = layer(x, self.rope)
        return x if self.output is None else self.output(self.norm(x))
