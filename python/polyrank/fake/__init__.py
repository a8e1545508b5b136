"""The fake world: one rank of any job, with nobody to talk to. docs/worlds.md.

`polyrank.fake_world()` runs a block in it. `polyrank.install()` puts it behind
`init_process_group("fake", ...)`, and these names in the place of PyTorch's in
`torch.testing._internal.distributed.fake_pg`.
"""

from __future__ import annotations

from typing import Any

from polyrank._C import FakeProcessGroup, FakeStore
from polyrank.fake.entry import fake_world
from polyrank.fake.world import FakeWorld, current_fake_world

__all__ = [
    "FakeProcessGroup",
    "FakeStore",
    "FakeWorld",
    "current_fake_world",
    "fake_world",
]


def _create_fake_pg(common_opts: Any, backend_opts: Any) -> FakeProcessGroup:
    """What `Backend.register_backend` takes: a fake process group of that rank and size."""
    return FakeProcessGroup._create_internal(
        common_opts.group_rank, common_opts.group_size, backend_opts
    )
