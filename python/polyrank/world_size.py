"""How many ranks a world may have."""

from __future__ import annotations

from polyrank.errors import UsageError

__all__ = ["MAX_RANKS", "check_world_size"]

# What the layer of ranks is tested up to. A slip of a digit should not fill the machine's memory.
MAX_RANKS = 2**20


def check_world_size(world_size: object) -> None:
    """Whether a world can have so many ranks.

    Raises:
        UsageError: it is no whole number, or none from 1 to MAX_RANKS.
    """
    if (
        not isinstance(world_size, int)
        or isinstance(world_size, bool)
        or not 1 <= world_size <= MAX_RANKS
    ):
        raise UsageError(
            f"world_size={world_size!r}; it must be a whole number from 1 to {MAX_RANKS:,}"
        )
