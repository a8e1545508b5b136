"""The environment of a rank's process, as torchrun sets it."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

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
    """What torchrun sets for one rank; `folder` is for what programs write of their errors.

    There is no store of an agent: whoever makes one at MASTER_PORT finds the port free.
    """
    values = {
        "RANK": rank,
        "LOCAL_RANK": rank % local_world_size,
        "GROUP_RANK": rank // local_world_size,
        "ROLE_RANK": rank,
        "ROLE_NAME": "default",
        "WORLD_SIZE": world_size,
        "LOCAL_WORLD_SIZE": local_world_size,
        "GROUP_WORLD_SIZE": world_size // local_world_size,
        "ROLE_WORLD_SIZE": world_size,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "TORCHELASTIC_RUN_ID": "polyrank",
        "TORCHELASTIC_RESTART_COUNT": 0,
        "TORCHELASTIC_MAX_RESTARTS": 0,
        "TORCHELASTIC_USE_AGENT_STORE": False,
        "TORCHELASTIC_ERROR_FILE": folder / f"error_{rank}.json",
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": os.environ.get("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1"),
        # As torchrun: ranks side by side would take each other's cores.
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    return {name: str(value) for name, value in values.items()}
