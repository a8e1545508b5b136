"""What a run's modules are called, so that they are found in the reference.

NOTE [Names of modules]
A module goes by its path in the first that ran of those that it is part of, without what wrappers add.
Further modules that run on their own go by their class. A stage of a pipeline is a model of its own on
each rank, whose layers count from 0: there a module is the one of the reference whose parameters began
with the same values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import nn

from polyrank.divergence.content import content_of
from polyrank.recording.module_paths import paths_of

__all__ = ["ModuleNames", "joined"]

# Parts of paths that wrappers add.
_WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})


class ModuleNames:
    """Of one rank, or all of a lockstep program."""

    def __init__(self, ranks: Sequence[int], known: Mapping[bytes, str]) -> None:
        """`known`: the reference's parameters by the digests of what they began with."""
        self._ranks = ranks
        self._known = known
        self._roots: dict[str, int] = {}  # how many by class

    def of_root(self, root: nn.Module) -> Iterator[tuple[str | None, nn.Module]]:
        """The module, which nothing that ran is part of, and its parts, by their names; None: it wraps another."""
        first = not self._roots
        kind = type(root).__name__
        count = self._roots[kind] = self._roots.get(kind, 0) + 1
        name = "" if first else kind if count == 1 else f"{kind} {count}"
        parts = [
            (joined(name, "" if part is root else _plain(path)), part)
            for path, part in paths_of(root)
        ]
        there = self._in_reference(parts)
        wrapped = dict(parts)  # the innermost of a name
        for path, part in parts:
            if wrapped[path] is not part:
                yield None, part
            else:
                yield there.get(path, f"{path} of this part") if there else path, part

    def _in_reference(self, parts: Sequence[tuple[str, nn.Module]]) -> dict[str, str]:
        """Names by which the reference has modules that go by others here; empty: all go by the same."""
        found = {}
        for path, part in parts if self._known else ():
            for _, tensor in part.named_parameters(recurse=False):
                digests = {share.digest for share in content_of(tensor, self._ranks, {}) or ()}
                name = self._known.get(digests.pop()) if len(digests) == 1 else None
                if name is not None:
                    found[path] = name.rpartition(".")[0]
        return {} if all(path == name for path, name in found.items()) else found


def joined(path: str, name: str) -> str:
    """The path of a part, or of a parameter."""
    return f"{path}.{name}" if path and name else path or name


def _plain(path: str) -> str:
    return ".".join(part for part in path.split(".") if part not in _WRAPPERS)
