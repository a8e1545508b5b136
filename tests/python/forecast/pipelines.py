"""Equal stages whose matmuls take 22 ms, on a cluster whose links cost nothing: then formulas are exact."""

from __future__ import annotations

from pathlib import Path

import torch
from polyrank.forecast import clusters
from torch import nn

WIDTH, TOKENS = 16384, 32768  # the CPU's microseconds don't count


class Block(nn.Module):
    """Its input needs a gradient on the first stage, too, so that all stages cost the same."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH, bias=False, device="cuda", dtype=torch.bfloat16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not x.requires_grad:
            x = x.detach().requires_grad_()
        result: torch.Tensor = self.linear(x)
        return result


def cluster_of_free_links(folder: Path) -> str:
    """The file of an H100 node."""
    text = (Path(clusters.__file__).with_name("clusters") / "dgx-h100.toml").read_text()
    lines = [
        "gpu_links_gb_s = { value = 1e9, source = 'free' }"
        if line.startswith("gpu_links_gb_s")
        else "node_channel_gb_s = { value = 1e9, source = 'free' }"
        if line.startswith("node_channel_gb_s")
        else line
        for line in text.splitlines()
    ]
    file = folder / "free links.toml"
    file.write_text("\n".join(lines))
    return str(file)
