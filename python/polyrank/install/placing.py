"""Placing our objects under PyTorch's names, and taking them back."""

from __future__ import annotations

import functools
import importlib
import sys
import warnings
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import torch

from polyrank import mesh_scatter
from polyrank.fake import entry as fake_world
from polyrank.install import (
    checkpoint,
    data_parallel,
    dtensor_equal,
    fully_shard,
    names,
    threaded_tests,
)
from polyrank.when_imported import WhenImported

_ADAPTED = (
    *fully_shard.ADAPTED,
    *data_parallel.ADAPTED,
    *checkpoint.ADAPTED,
    *dtensor_equal.ADAPTED,
    *fake_world.ADAPTED,
)
_ABSENT = object()  # the module did not have the name


class PlacedNames:
    """What `install()` replaced, so that `uninstall()` can put it back.

    A module keeps its names in its dict; a name is replaced where PyTorch defines it, and wherever
    a module holds PyTorch's object, under whatever name.
    """

    def __init__(self) -> None:
        self._replaced: list[tuple[Any, str, Any]] = []
        self._originals: dict[int, Any] = {}  # by id of ours
        self._has_warned = False
        self._later: list[WhenImported] = []

    def place(self) -> None:
        """Replace each name once."""
        if self._replaced:
            return
        missing = [
            *self._place_in(names.MODULE, names.OURS, names.OLDER),
            *self._place_in(names.C10D_MODULE, names.C10D_OURS, {}),
            *self._place_in(names.FAKE_MODULE, names.FAKE_OURS, {}),
        ]
        self._adapt(_ADAPTED)
        self._later = [
            WhenImported(part.MODULE, lambda module, part=part: self._adapt(part.adapted(module)))  # type: ignore[misc]
            for part in (threaded_tests, mesh_scatter)
        ]
        self._warn(missing)

    def _adapt(self, adapted: Iterable[tuple[Any, str, Callable[[Any], Any]]]) -> None:
        held_by_modules: dict[int, tuple[Any, Any]] = {}
        for owner, name, make in adapted:
            original = vars(owner)[name]
            if isinstance(owner, ModuleType):
                held_by_modules[id(original)] = original, make(original)
            else:
                self._replace(owner, name, original, make(original))
        self._replace_everywhere(held_by_modules)

    def restore(self) -> None:
        """Put the originals back."""
        for later in self._later:
            later.stop()
        placed = {id(vars(module).get(name)) for module, name, _ in self._replaced}
        while self._replaced:
            module, name, original = self._replaced.pop()
            if original is _ABSENT:
                vars(module).pop(name, None)
            else:
                setattr(module, name, original)
        # Modules of torch that were imported since took ours; nothing else of torch holds it.
        for module in _modules("torch"):
            for name, value in list(vars(module).items()):
                if id(value) in placed and id(value) in self._originals:
                    setattr(module, name, self._originals[id(value)])
        self._originals.clear()

    def _place_in(self, module_name: str, ours: dict[str, Any], added: dict[str, Any]) -> list[str]:
        module = importlib.import_module(module_name)
        held = {name: vars(module).get(name, _ABSENT) for name in (*ours, *added)}
        replacements = {
            id(original): (original, ours[name])
            for name, original in held.items()
            if original is not _ABSENT and name in ours
        }
        self._originals.update(
            {id(ours[name]): held[name] for name in ours if held[name] is not _ABSENT}
        )
        self._replace_everywhere(replacements)
        for name, value in added.items():
            if held[name] is _ABSENT:
                self._replace(module, name, _ABSENT, value)
        return [f"{module_name}.{name}" for name in ours if held[name] is _ABSENT]

    def _replace_everywhere(self, replacements: dict[int, tuple[Any, Any]]) -> None:
        for module in _modules(""):
            for name, value in list(vars(module).items()):
                if id(value) in replacements and replacements[id(value)][0] is value:
                    self._replace(module, name, value, replacements[id(value)][1])

    def _replace(self, owner: Any, name: str, original: Any, ours: Any) -> None:
        self._replaced.append((owner, name, original))
        setattr(owner, name, ours)

    def _warn(self, missing: list[str]) -> None:
        version = torch.__version__.split("+")[0]
        if self._has_warned or (version == names.KNOWN_TORCH and not missing):
            return
        self._has_warned = True
        not_placed = f"could not place {', '.join(missing)}" if missing else "placed all names"
        warnings.warn(
            f"polyrank.install() knows torch {names.KNOWN_TORCH}, this is {version}: {not_placed}",
            stacklevel=4,
        )


def _modules(package: str) -> list[ModuleType]:
    """Loaded modules of a package ("" for any), but not our own."""
    return [
        module
        for name, module in list(sys.modules.items())
        if isinstance(module, ModuleType)
        and (not package or name.partition(".")[0] == package)
        and name.partition(".")[0] != "polyrank"
    ]


@functools.cache
def placed_names() -> PlacedNames:
    """The names of this process."""
    return PlacedNames()
