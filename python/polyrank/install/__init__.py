"""Puts polyrank's classes and functions where PyTorch and others look for PyTorch's own."""

from __future__ import annotations

from polyrank.replacing.layers import FAKE, INSTALL

__all__ = ["install", "uninstall"]


def install() -> None:
    """Let the names of `torch.distributed._local_tensor` mean polyrank's classes and functions.

    `init_process_group("fake", ...)` runs in polyrank's fake world from then on.

    Whoever holds a name from before gets ours too. A second call does nothing.
    """
    if not INSTALL.is_on:
        INSTALL.enter()
        FAKE.enter()


def uninstall() -> None:
    """Put back what `install()` replaced, also in modules of torch that were imported since."""
    if INSTALL.is_on:
        FAKE.leave()
        INSTALL.leave()
