"""What ranks share, as the launcher and each of them need it."""

from __future__ import annotations

from typing import Protocol

__all__ = ["SharedRun", "Unshared"]


class SharedRun(Protocol):
    """What `_C.SharedRun` does for the launcher and a rank."""

    def begin(self, rank: int, /) -> None:
        """The calling process is that rank."""

    def end(self, rank: int, /) -> None:
        """It takes part in nothing any more."""

    def end_failed(self, rank: int, text: str, /) -> None:
        """It failed, which all that wait for it are told."""

    def died(self, rank: int, text: str, /) -> None:
        """Its process has ended without a word."""

    def stop(self, text: str, /) -> None:
        """All are to end."""


class Unshared:
    """Of ranks that share nothing of ours, and meet over gloo or NCCL."""

    def begin(self, rank: int, /) -> None: ...
    def end(self, rank: int, /) -> None: ...
    def end_failed(self, rank: int, text: str, /) -> None: ...
    def died(self, rank: int, text: str, /) -> None: ...
    def stop(self, text: str, /) -> None: ...
