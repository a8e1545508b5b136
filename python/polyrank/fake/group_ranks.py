"""The members of a fake process group, as torch.distributed keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from polyrank._C import FakeMember

if TYPE_CHECKING:
    from polyrank.fake.world import FakeWorld


class GroupRanks(Mapping[int, int]):
    """Global rank -> group rank, of the group as the world's rank sees it at the moment.

    In the place of the dict that torch.distributed makes for each group. Looking a rank up costs
    the same at any size; going through all of them costs what a list of them costs.
    """

    def __init__(self, world: FakeWorld, member: FakeMember) -> None:
        self.world = world
        self.member = member

    def __getitem__(self, global_rank: int) -> int:
        group_rank = self.member.group_rank_of(global_rank)
        if group_rank < 0:
            raise KeyError(global_rank)
        return group_rank

    def __contains__(self, global_rank: object) -> bool:
        return isinstance(global_rank, int) and self.member.group_rank_of(global_rank) >= 0

    def __len__(self) -> int:
        return self.member.group_size if self.member.group_rank >= 0 else 0

    def __iter__(self) -> Iterator[int]:
        return iter(self.member.ranks() if len(self) else [])

    def __repr__(self) -> str:
        return f"GroupRanks({self.member})"
