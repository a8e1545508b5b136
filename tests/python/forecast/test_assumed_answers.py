"""Programs that ask a GPU without bytes what decides how they go on."""

from __future__ import annotations

import polyrank
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard


def test_a_grad_scaler_steps() -> None:
    with polyrank.forecast(world_size=1) as f:
        model = nn.Linear(1024, 1024, bias=False).cuda()
        optimizer = torch.optim.AdamW(model.parameters())
        scaler = torch.amp.GradScaler("cuda")
        for _ in range(3):
            scaler.scale(model(torch.empty(8, 1024, device="cuda")).sum()).backward()
            scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        assert len(optimizer.state) == 1
        states = 2 * 1024 * 1024 * 4
        assert torch.cuda.memory_allocated() >= states + 1024 * 1024 * 4
    assert f.memory.peak is not None
    assert f.memory.peak.phase == "optimizer"


def test_shards_draw_their_first_values() -> None:
    """DTensor sends the state of rank 0's stream over the GPU, where it is no state any more."""
    with polyrank.forecast(world_size=8):
        assert dist.get_world_size() == 8
        torch.manual_seed(0)
        state = torch.cuda.get_rng_state()
        with torch.device("meta"):
            model = nn.Linear(1024, 1024)
        fully_shard(model)
        model.to_empty(device="cuda")
        model.reset_parameters()
        assert model.weight.to_local().shape == (128, 1024)  # type: ignore[operator]
        torch.cuda.set_rng_state(state)
        assert torch.equal(torch.cuda.get_rng_state(), state)
