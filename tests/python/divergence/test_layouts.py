"""How what ranks hold lies in a reference's: padded shards, parts that lie apart, modules of other names."""

from __future__ import annotations

import pytest
import torch
from polyrank.divergence.content import digest_of
from polyrank.divergence.reference.layouts import layouts_of
from polyrank.divergence.reference.names import ModuleNames
from polyrank.divergence.reference.pieces import match
from polyrank.divergence.reference.tape import Event, Tape, What
from torch import nn


def test_a_shard_may_reach_beyond_the_end_with_zeros() -> None:
    whole = torch.arange(1.0, 8.0)
    pieces = {0: whole[:4], 1: torch.cat([whole[4:], torch.zeros(1)])}
    matched = match(pieces, whole, ())
    assert matched is not None
    assert (matched.error, matched.relation) == (0.0, "a part")
    pieces[1] = torch.cat([whole[4:], torch.ones(1)])
    matched = match(pieces, whole, ())
    assert matched is not None
    assert matched.error == 1.0


def test_parts_that_lie_apart_are_known_by_what_they_began_with() -> None:
    whole = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    ranks = {r: torch.cat([p[2 * r : 2 * r + 2] for p in whole.chunk(3)]) for r in range(2)}
    program, reference = Tape(num_ranks=2), Tape(num_ranks=1)
    program.initial = {"qkv.weight": Event(ranks), "qkv.bias": Event({0: torch.zeros(6)})}
    reference.initial = {
        "qkv.weight": Event({0: whole}),
        "qkv.bias": Event({0: torch.zeros(12)}),
    }
    layouts = layouts_of(program, reference)
    assert layouts.by_name == {"qkv.weight": (0, 3), "qkv.bias": (0, 3)}
    assert layouts.splits_of(What(0, "gradient", "qkv.bias", 0, 0)) == ((0, 3),)
    assert set(layouts.splits_of(What(0, "output", "qkv", 0, 0))) == {(-1, 3)}
    assert layouts.splits_of(What(0, "output", "out", 0, 0)) == []


def dealt_out(whole: torch.Tensor, num_ranks: int, *, is_balanced: bool) -> dict[int, torch.Tensor]:
    if not is_balanced:
        return {rank: whole[rank::num_ranks] for rank in range(num_ranks)}
    chunks = whole.chunk(2 * num_ranks)
    return {r: torch.cat([chunks[r], chunks[-1 - r]]) for r in range(num_ranks)}


@pytest.mark.parametrize("is_balanced", [False, True])
def test_rows_that_were_dealt_out_are_known_by_what_modules_give(is_balanced: bool) -> None:
    first, second = (torch.randn(16, 3, generator=torch.Generator().manual_seed(n)) for n in (0, 1))
    program, reference = Tape(num_ranks=4), Tape(num_ranks=1)
    whats = [What(0, "output", name, 0, 0) for name in ("embed", "head")]
    for what, whole in zip(whats, (first, second), strict=True):
        program.events[what] = Event(dealt_out(whole, 4, is_balanced=is_balanced))
        reference.events[what] = Event({0: whole})
    [dealing] = layouts_of(program, reference).dealings
    assert (dealing.dim, dealing.is_balanced, len(dealing.family)) == (0, is_balanced, 1)
    pieces = dealt_out(second, 4, is_balanced=is_balanced)
    found = match(pieces, second, (), dealings=[dealing])
    assert found is not None
    assert (found.error, found.relation) == (0.0, "the same")  # all of them together
    # Rows that are in another order than the others are no part.
    pieces[0], pieces[1] = pieces[1], pieces[0]
    found = match(pieces, second, (), dealings=[dealing])
    assert found is not None
    assert found.error > 0.1


def test_rows_in_blocks_are_not_dealt_out() -> None:
    whole = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    program, reference = Tape(num_ranks=4), Tape(num_ranks=1)
    what = What(0, "output", "embed", 0, 0)
    program.events[what] = Event(dict(enumerate(whole.chunk(4))))
    reference.events[what] = Event({0: whole})
    assert layouts_of(program, reference).dealings == []


def test_a_whole_in_another_order_is_no_layout() -> None:
    whole = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    program, reference = Tape(num_ranks=1), Tape(num_ranks=1)
    program.initial = {"weight": Event({0: whole.flip(0)})}
    reference.initial = {"weight": Event({0: whole})}
    assert layouts_of(program, reference).by_name == {}


def test_a_stage_goes_by_the_modules_that_began_alike() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2), nn.Tanh())
    known = {digest_of(p.detach()): name for name, p in model.named_parameters()}
    stage = nn.Sequential(model[2], model[3])
    names = dict(ModuleNames([1], known).of_root(stage))
    assert names["2"] is model[2]
    assert model[3] not in [names.get("1"), names.get("3")]
    names = dict(ModuleNames([0], known).of_root(model))
    assert list(names) == ["", "0", "1", "2", "3"]


def test_modules_that_run_on_their_own_go_by_their_class() -> None:
    names = ModuleNames([0], {})
    found = [next(iter(names.of_root(m)))[0] for m in (nn.Tanh(), nn.ReLU(), nn.ReLU())]
    assert found == ["", "ReLU", "ReLU 2"]
