"""`polyrank check order`: how far losses move with the order of summation."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polyrank
import pytest
import torch
import torch.distributed as dist
from page_text import page_without_scripts
from polyrank.divergence.order.checking import ORDERS, check_orders
from programs_of_faults import Program
from torch import nn

PROGRAM = """
import sys, torch, torch.distributed as dist
from torch import nn
dist.init_process_group("gloo")
torch.manual_seed(0 if "seeded" in sys.argv else int.from_bytes(__import__("os").urandom(4)))
model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
for step in range(4):
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(64, 8, generator=generator).tensor_split(dist.get_world_size())
    loss = model(torch.stack(list(x))[dist.get_rank()]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    for p in model.parameters():
        dist.all_reduce(p.grad)
        p.grad /= dist.get_world_size()
    optimizer.step()
if "fails" in sys.argv:
    raise ValueError("it fails")
print("done")
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    file = tmp_path / "a program.py"
    file.write_text(PROGRAM)
    return Program(file, 0, "", ("threads", "lockstep"))


@pytest.mark.parametrize("world", ["threads", "lockstep"])
def test_losses_move_by_rounding_only(program: Program, world: str) -> None:
    checked = check_orders(program.options(world, "seeded"))
    assert checked.outcome.exit_code == 0, checked.outcome.failure
    assert checked.repeats
    curves = checked.curves()
    assert list(curves) == list(ORDERS)
    assert {len(curve) for curve in curves.values()} == {4}
    envelope = checked.envelope()
    assert envelope[0].width == 0  # before anything was reduced
    assert all(one.width < 1e-5 * one.lowest for one in envelope)
    widest = checked.widest()
    assert widest is not None
    assert widest.width > 0
    for one in envelope:
        assert one.lowest == min(curve[one.number - 1] for curve in curves.values())
        assert curves[one.orders[1]][one.number - 1] == one.highest
    # Ranks hold losses of their own, of which the curve is the average.
    assert len({values[0] for values in checked.losses["rank"].of_ranks.values()}) == 4


def test_both_worlds_have_the_same_losses(program: Program) -> None:
    threads = check_orders(program.options("threads", "seeded"), ["gloo", "nccl_ring"])
    lockstep = check_orders(program.options("lockstep", "seeded"), ["gloo", "nccl_ring"])
    for order in ("gloo", "nccl_ring"):
        assert threads.losses[order].of_ranks == lockstep.losses[order].of_ranks


def test_two_ranks_have_one_curve(program: Program) -> None:
    checked = check_orders(program.options("threads", "seeded", num_ranks=2))
    assert [one.width for one in checked.envelope()] == [0] * 4


def test_a_program_that_does_not_repeat_is_told(program: Program) -> None:
    checked = check_orders(program.options("threads", "unseeded"), ["rank", "gloo"])
    assert not checked.repeats
    assert "other losses in the same order too" in checked.text()


def test_a_program_that_fails_is_told(program: Program) -> None:
    checked = check_orders(program.options("threads", "fails"))
    assert (checked.outcome.exit_code, checked.failed_order) == (1, "rank")
    assert "it fails" in checked.text()


def test_losses_are_recorded_while_asked_for_only() -> None:
    from polyrank.divergence.order.losses import Losses, told_of_backward

    losses = Losses()

    def train() -> None:
        nn.Linear(2, 1)(torch.ones(2) * dist.get_rank()).sum().backward()

    with told_of_backward(losses), polyrank.lockstep(2):
        train()
        x = torch.ones(3, requires_grad=True)
        (x * 2).backward(torch.ones(3))  # no loss
    with polyrank.lockstep(2):
        train()
    assert {rank: len(values) for rank, values in losses.of_ranks.items()} == {0: 1, 1: 1}
    assert losses.of_ranks[0] != losses.of_ranks[1]


def test_the_command_writes_the_envelope(program: Program, tmp_path: Path) -> None:
    report = tmp_path / "orders.json"
    command = [sys.executable, "-m", "polyrank", "check", "order", "--ranks", "4"]
    more = ["--order", "gloo", "--order", "exact", "--json", str(report)]
    more += ["--html", str(tmp_path / "orders.html")]
    ended = subprocess.run(
        [*command, *more, str(program.file), "seeded"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("done") == 4  # of the first run, once on each rank
    assert "gloo" in ended.stderr
    assert "Losses, less those of the order gloo" in page_without_scripts(tmp_path / "orders.html")
    document = json.loads(report.read_text())
    assert list(document["losses"]) == ["gloo", "exact"]
    widest = max(document["envelope"], key=lambda one: one["width"])
    assert f"widest: loss {widest['loss']} is between {widest['lowest']:.9g}" in ended.stderr
    ended = subprocess.run(
        [*command, "--order", "ring", str(program.file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
