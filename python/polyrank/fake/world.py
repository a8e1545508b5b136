"""The world of a rank that runs alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d
from torch.utils.weak import WeakIdKeyDictionary

from polyrank import _C
from polyrank.any_world.mesh_identity import give_identity, new_identity, tell_identity
from polyrank.errors import CollectiveError, UsageError
from polyrank.fake.group_ranks import GroupRanks

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

__all__ = [
    "FakeWorld",
    "backend_of",
    "current_fake_world",
    "fake_process_groups_of_dist2",
    "pickled",
    "required_fake_world",
]


# The coordinate of a rank in a mesh; None if it is not in it.
Coordinate = Callable[[int], tuple[int, ...] | None]


class FakeWorld:
    """A world of `size` ranks of which one runs.

    Made by `polyrank.fake_world()`, and after `polyrank.install()` by
    `init_process_group("fake", ...)`; `polyrank.fake.current_fake_world()` gives it.
    """

    def __init__(self, size: int, rank: int, options: Any = None) -> None:
        if not 0 <= rank < size:
            raise CollectiveError(
                f"a fake world needs its size and the rank that runs in it; got a world of {size} "
                f"ranks and rank {rank}"
            )
        self.size = size
        # Whether groups of other backends are fake ones too, as in `polyrank run`.
        self.takes_any_backend = False
        self.options = options  # of the default group; groups made later have them too
        self._rank = _C.FakeRank(rank)
        # By their number, what the last send_object_list() sent: sizes and bytes.
        self.objects_sent: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._identities = {rank: new_identity()}  # of its meshes, by rank
        self._meshes: dict[DeviceMesh, Coordinate] = WeakIdKeyDictionary()  # type: ignore[assignment]

    @property
    def rank(self) -> int:
        """The rank that runs at the moment."""
        return self._rank.value

    def as_ranks(self, ranks: Iterable[int]) -> Iterator[int]:
        """Become one rank after the other, for a step of the loop each; in the end, the first again.

        Groups of the world and of meshes become the groups that the rank is in, meshes answer with
        its coordinates. What the program worked out from its rank stays: tensors (shards too),
        modules, groups that `new_group(ranks)`, `new_subgroups` and `split_group` made.

        Raises:
            UsageError: a rank is not of this world, when its turn comes.

        Example:
            for rank in world.as_ranks([0, 17, 99_999]):
                step()
        """
        before = self.rank
        try:
            for rank in ranks:
                self._become(rank)
                yield rank
        finally:
            self._become(before)

    def _become(self, rank: int) -> None:
        if not 0 <= rank < self.size:
            raise UsageError(
                f"the world has no rank {rank}; it has {self.size} ranks, 0..{self.size - 1}"
            )
        if rank == self.rank:
            return
        self._rank.value = rank
        self._identities.setdefault(rank, new_identity())
        for mesh, coordinate in self._meshes.items():
            mesh._rank = rank
            mesh._coordinate_on_dim = coordinate(rank)
            give_identity(mesh)

    def add_mesh(self, mesh: DeviceMesh, coordinate: Coordinate) -> None:
        """Let the mesh follow when the world becomes another rank: gives the rank's coordinate."""
        self._meshes[mesh] = coordinate
        give_identity(mesh)

    @property
    def identity(self) -> int:
        """What sets meshes apart of this world and the rank that it is; see any_world/mesh_identity.py."""
        return self._identities[self.rank]

    def expect(
        self, tensor: torch.Tensor, tag: int = 0, group: dist.ProcessGroup | None = None
    ) -> None:
        """Say what a receive of this tag, dtype and size gets, where this rank sent none like it.

        For programs whose ranks differ: the first thing that a pipeline's later stage does is to
        receive. What the rank itself sends takes the place of this.
        """
        backend_of(group).expect_message(tensor, tag)

    def expect_objects(self, objects: list[Any]) -> None:
        """Say what `recv_object_list` of as many objects gets, where this rank sent none."""
        self.objects_sent[len(objects)] = pickled(objects)

    def whole(self) -> GroupRanks:
        """The members of the group of all ranks."""
        return self.fibers([(self.size, 1)], self.size)

    def fibers(self, dims: list[tuple[int, int]], num_ranks: int) -> GroupRanks:
        """The members of the rank's group along dimensions (sizes, strides) of a mesh."""
        return GroupRanks(self, _C.FakeMember.fibers(dims, num_ranks, self._rank))

    def listed(self, ranks: list[int]) -> GroupRanks:
        """The members of one group alone."""
        return GroupRanks(self, _C.FakeMember.listed(ranks, self._rank))


def backend_of(group: dist.ProcessGroup | None) -> _C.FakeProcessGroup:
    """The backend of a group of the fake world; of the default group for None."""
    backend = (group or distributed_c10d._get_default_group())._get_backend(torch.device("cpu"))
    if not isinstance(backend, _C.FakeProcessGroup):
        raise UsageError(f"the group is not of a fake world: its backend is {backend.name()!r}")
    return backend


def pickled(objects: list[Any], **how: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Objects as torch.distributed sends them: their sizes, and their bytes in a row."""
    to_tensor: Any = distributed_c10d._object_to_tensor
    pairs = [to_tensor(one, torch.device("cpu"), None, **how) for one in objects]
    return torch.cat([size for _, size in pairs]), torch.cat([data for data, _ in pairs])


@contextlib.contextmanager
def fake_process_groups_of_dist2(everyone: _C.FakeMember) -> Iterator[None]:
    """Let polyrank.dist2 make groups of this world, whatever real backend is asked for."""
    _C.set_dist2_fake_world(everyone)
    try:
        yield
    finally:
        _C.set_dist2_fake_world(None)


def required_fake_world() -> FakeWorld:
    """As current_fake_world().

    Raises:
        UsageError: torch.distributed runs in no fake world.
    """
    world = current_fake_world()
    if world is None:
        raise UsageError("torch.distributed runs in no fake world; enter polyrank.fake_world()")
    return world


def current_fake_world() -> FakeWorld | None:
    """The fake world that torch.distributed runs in, or None."""
    group = dist.group.WORLD
    members = None if group is None else distributed_c10d._world.pg_group_ranks.get(group)
    return members.world if isinstance(members, GroupRanks) else None


def _identity() -> int | None:
    world = current_fake_world()
    return None if world is None else world.identity


tell_identity(_identity)
