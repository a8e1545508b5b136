"""Puts polyrank's classes and functions where PyTorch and others look for PyTorch's own."""

from __future__ import annotations

__all__ = ["install", "uninstall"]


def install() -> None:
    """Let the names of `torch.distributed._local_tensor` mean polyrank's classes and functions.

    `init_process_group("fake", ...)` runs in polyrank's fake world from then on.

    Modules that imported a name before get ours too. A second call does nothing. On a torch that
    polyrank does not know, warns once and says which names could not be placed.
    """
    from polyrank.install.placing import placed_names

    placed_names().place()


def uninstall() -> None:
    """Put back what `install()` replaced, also in modules of torch that were imported since."""
    from polyrank.install.placing import placed_names

    placed_names().restore()
