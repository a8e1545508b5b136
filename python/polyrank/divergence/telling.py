"""What watches told of one moment, by rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from polyrank.divergence.content import groups_of
from polyrank.divergence.operations import Key, Operand, Operation
from polyrank.divergence.watch import Facts, Shards, Told, Watch

__all__ = ["Telling"]


@dataclass(slots=True)
class Telling:
    """What the watches of some ranks told of one moment."""

    told: dict[int, dict[str, Told]] = field(default_factory=dict)  # by the lowest rank of a watch
    gradients: dict[int, dict[str, Told]] = field(default_factory=dict)
    watches: dict[int, Watch] = field(default_factory=dict)

    def num_ranks(self) -> int:
        """That told."""
        return sum(len(watch.ranks) for watch in self.watches.values())

    def names(self) -> list[str]:
        """Of all that was told."""
        return list(dict.fromkeys(name for told in self.told.values() for name in told))

    def groups(self, name: str, within: Sequence[int] | None = None) -> list[list[int]]:
        """Ranks by what they hold."""
        contents = [
            content
            for told in self.told.values()
            if name in told and (content := told[name].content) is not None
        ]
        groups = [ranks for ranks, _ in groups_of(contents)]
        if within is None:
            return groups
        inside = set(within)
        kept = [[rank for rank in group if rank in inside] for group in groups]
        return [group for group in kept if group]

    def facts(self, name: str) -> Facts:
        """As the first rank that knows it has them."""
        return next(watch.facts[name] for watch in self.watches.values() if name in watch.facts)

    def meshes(self, name: str) -> list[Shards]:
        """Of a DTensor, the shards on each of the meshes that ranks have it on."""
        every = [watch.facts[name] for watch in self.watches.values() if name in watch.facts]
        return list(dict.fromkeys(shards for fact in every for shards in fact.shards or ()))

    def watch(self, rank: int) -> Watch:
        """That of the rank."""
        return self.watches[self._lowest(rank)]

    def of(self, rank: int) -> dict[str, Told]:
        """What the rank told, by name."""
        return self.told[self._lowest(rank)]

    def gradients_of(self, rank: int) -> dict[str, Told]:
        """What the rank told of gradients, by name."""
        return self.gradients[self._lowest(rank)]

    def streams(self, name: str, pair: tuple[int, int]) -> tuple[Operand, Operand]:
        """Of a random stream, what the two hold."""
        mine, theirs = (self.of(rank)[name] for rank in pair)
        return (
            Operand(name, mine.content, mine.shape, mine.writers),
            Operand(name, theirs.content, theirs.shape, theirs.writers),
        )

    def logs(
        self, pair: tuple[int, int]
    ) -> tuple[Mapping[Key, Operation], Mapping[Key, Operation]]:
        """The operations of the two, where they are recorded."""
        mine, theirs = (self.watch(rank).log for rank in pair)
        return (
            {} if mine is None else mine.operations,
            {} if theirs is None else theirs.operations,
        )

    def _lowest(self, rank: int) -> int:
        return next(low for low, watch in self.watches.items() if rank in watch.ranks)
