"""The environment of a rank's process, as torchrun sets it."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from polyrank.any_world.torchrun_variables import variables_of_all_ranks, variables_of_rank

__all__ = ["ReservedPort", "torchrun_variables"]


class ReservedPort:
    """A port that nobody is given while this exists, and that a rank may listen on."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
        )
        # With this on both sides, a port that is bound without listening can be listened on.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("", 0))
        self.number: int = self._socket.getsockname()[1]

    def fileno(self) -> int:
        """Of the socket that holds it."""
        return self._socket.fileno()

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()


def torchrun_variables(
    rank: int, world_size: int, local_world_size: int, port: int, folder: Path
) -> Mapping[str, str]:
    """What torchrun sets for one rank; `folder` is for what programs write of their errors."""
    return {
        **variables_of_rank(rank, local_world_size),
        **variables_of_all_ranks(world_size, local_world_size, port),
        "TORCHELASTIC_ERROR_FILE": str(folder / f"error_{rank}.json"),
    }
