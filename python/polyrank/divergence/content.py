"""What ranks hold, by content: who holds the same bits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass

import torch
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import _disable_current_modes

from polyrank import _C
from polyrank.tensor.local_tensor import LocalTensor

__all__ = [
    "Content",
    "Copies",
    "Share",
    "content_of",
    "digest_of",
    "groups_of",
    "local_part",
    "shape_of",
]

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Share:
    """What some ranks hold."""

    ranks: Sequence[int]
    digest: bytes  # of the bits, dtype and shape
    shown: str  # the first values; empty where values are kept
    tensor: torch.Tensor | None = None  # a copy, where values are kept

    def holds(self, rank: int) -> bool:
        return rank in self.ranks


Content = tuple[Share, ...]
Copies = MutableMapping[bytes, torch.Tensor]  # of what was held, by digest: one of each


def local_part(tensor: torch.Tensor) -> torch.Tensor:
    """What the ranks hold of it."""
    return tensor._local_tensor if isinstance(tensor, DTensor) else tensor


def shape_of(tensor: torch.Tensor) -> tuple[int, ...]:
    """The shape that all ranks have of what they hold; empty where it differs."""
    tensor = local_part(tensor)
    if _C.is_local_tensor(tensor) and not _C.has_uniform_geometry(tensor):
        return ()
    return tuple(tensor.shape)


def content_of(
    tensor: torch.Tensor, ranks: Sequence[int], copies: Copies | None = None
) -> Content | None:
    """What the tensor holds on each of the ranks that run this line; None: it holds no values.

    With `copies` each share has one, of those or a new one among them.
    """
    with _disable_current_modes(), torch.no_grad():
        tensor = local_part(tensor)
        if not isinstance(tensor, LocalTensor):
            share = _share(tensor.detach(), ranks, copies)
            return None if share is None else (share,)
        cohorts = _C.cohorts(tensor.detach())
        if len(cohorts) == 1 and copies is None:  # nothing to compare, so the bits are not read
            return (Share(tuple(cohorts[0].ranks), b"", ""),)
        shares = []
        for cohort in cohorts:
            share = _share(cohort.tensor, tuple(cohort.ranks), copies)
            if share is None:
                return None
            shares.append(share)
        return tuple(shares)


def _share(tensor: torch.Tensor, ranks: Sequence[int], copies: Copies | None) -> Share | None:
    if tensor.layout != torch.strided:
        if tensor.layout != torch.sparse_coo:
            return None
        tensor = tensor.coalesce().to_dense()
    if tensor.device.type == "meta" or type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        return None
    if tensor.numel() and not tensor.untyped_storage().nbytes():  # freed, as FSDP does
        return None
    # A copy: a cohort's tensor is read-only, and numpy makes storages that it sees not resizable.
    plain = tensor.resolve_conj().resolve_neg().cpu().clone(memory_format=torch.contiguous_format)
    digest = digest_of(plain)
    if copies is None:
        return Share(ranks, digest, _shown(plain))
    if digest not in copies:
        copies[digest] = plain
    return Share(ranks, digest, "", copies[digest])


def digest_of(plain: torch.Tensor) -> bytes:
    """Of the bits, dtype and shape of a contiguous tensor in memory."""
    hashed = hashlib.blake2b(digest_size=8)
    hashed.update(f"{plain.dtype}{tuple(plain.shape)}".encode())
    if plain.numel():
        hashed.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return hashed.digest()


def _shown(tensor: torch.Tensor) -> str:
    first = ", ".join(f"{value:.6g}" for value in tensor.reshape(-1)[:_SHOWN].tolist())
    if tensor.numel() <= _SHOWN:
        return first if tensor.dim() == 0 else f"[{first}]"
    return f"[{first}, …] (sum {tensor.sum(dtype=_wide(tensor.dtype)).item():.9g})"


def _wide(dtype: torch.dtype) -> torch.dtype:
    if dtype.is_complex:
        return torch.complex128
    return torch.float64 if dtype.is_floating_point else torch.int64


def groups_of(contents: Iterable[Content]) -> list[tuple[list[int], Share]]:
    """The ranks by what they hold, those of the lowest rank first, each with one of their shares."""
    found: dict[bytes, tuple[list[int], Share]] = {}
    for content in contents:
        for share in content:
            found.setdefault(share.digest, ([], share))[0].extend(share.ranks)
    groups = [(sorted(ranks), share) for ranks, share in found.values()]
    return sorted(groups, key=lambda group: group[0][0])
