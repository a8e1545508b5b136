"""Ranks that run in lockstep or as threads: each has its streams and statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

RANKS = 3


def _by_rank(tensor: Any) -> list[list[float]]:
    assert tensor.device == torch.device("cuda", 0)
    with polyrank.maybe_disable_local_tensor_mode():
        return [tensor.on_rank(rank).tolist() for rank in range(RANKS)]


def _drawn_alone(seed: int, draw: Callable[[str], Tensor]) -> list[float]:
    torch.manual_seed(seed)
    return draw("cpu").tolist()  # type: ignore[no-any-return]


def _draw(device: str) -> Tensor:
    x = torch.rand(4, device=device)
    return F.dropout(x, 0.5) + torch.randn(4, device=device)


@pytest.mark.parametrize("name", ["torch", "cuda", "cuda, all"])
def test_seeds_that_differ_between_ranks(name: str) -> None:
    seeds = {"torch": torch.manual_seed, "cuda": torch.cuda.manual_seed}
    seed: Any = seeds.get(name, torch.cuda.manual_seed_all)
    expected = [_drawn_alone(7 + rank, _draw) for rank in range(RANKS)]
    with polyrank.lockstep(RANKS):
        seed(7 + dist.get_rank())
        assert _by_rank(_draw("cuda")) == expected
        seed(7)
        drawn: Any = _draw("cuda")
        assert _by_rank(drawn) == [expected[0]] * RANKS


def test_states_of_ranks_are_taken_and_given_back() -> None:
    with polyrank.lockstep(RANKS):
        torch.cuda.manual_seed(7 + dist.get_rank())
        state = torch.cuda.get_rng_state()
        first = _by_rank(_draw("cuda"))
        assert _by_rank(_draw("cuda")) != first
        torch.cuda.set_rng_state(state)
        assert _by_rank(_draw("cuda")) == first


def test_training_in_lockstep_gives_the_cpus_bits() -> None:
    results = []
    for device in ("cpu", "cuda"):
        with polyrank.lockstep(RANKS):
            torch.manual_seed(0)
            layer = torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
            layer.to(device)
            x = torch.arange(2.0 * 3 * 8).view(2, 3, 8).to(device) * (dist.get_rank() + 1)
            layer(x).square().mean().backward()
            gradients: Any = [p.grad for p in layer.parameters()]
        results.append([g.on_rank(r).cpu() for g in gradients for r in range(RANKS)])
    assert all(torch.equal(cpu, gpu) for cpu, gpu in zip(*results, strict=True))


def test_one_ranks_tensor_is_read_and_not_written() -> None:
    with polyrank.lockstep(RANKS):
        made: Any = torch.ones(2, device="cuda") * dist.get_rank()
    one = made.on_rank(2)
    assert (one + 1).tolist() == [3, 3]
    with pytest.raises(RuntimeError):
        one.add_(1)
    assert made.on_rank(2).tolist() == [2, 2]


def test_memory_is_counted_for_all_ranks_together_in_lockstep() -> None:
    with polyrank.lockstep(RANKS):
        own = torch.zeros(1024, device="cuda") + dist.get_rank()
        for ask in (torch.cuda.memory_allocated, torch.cuda.memory_stats, torch.cuda.mem_get_info):
            with pytest.warns(UserWarning, match=f"counted for all {RANKS} ranks together"):
                ask()
        with pytest.warns(UserWarning, match="counted for all"):
            before = torch.cuda.memory_allocated()
        del own
        with pytest.warns(UserWarning, match="counted for all"):
            assert before - torch.cuda.memory_allocated() == RANKS * 4096


def test_threads_count_and_draw_each_for_themselves() -> None:
    def program() -> tuple[int, list[float]]:
        rank = torch.distributed.get_rank()
        torch.cuda.manual_seed(7 + rank)
        kept = torch.zeros(128 * (rank + 1), device="cuda")
        drawn = _draw("cuda").tolist()
        return torch.cuda.memory_stats()["requested_bytes.all.current"], [len(kept), *drawn]

    answers = polyrank.run_ranks(program, RANKS)
    for rank, (requested, drawn) in enumerate(answers):
        assert requested == 4 * 128 * (rank + 1)
        assert drawn[1:] == _drawn_alone(7 + rank, _draw)
