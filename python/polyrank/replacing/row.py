"""One replaced name."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Make", "Row", "with_original"]

Make = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True)
class Row:
    """A name, what stands in its place while the world is on, and why.

    Args:
        owner: a module, or what one holds: "torch.random", "torch:Tensor", "a.module:AClass.attribute".
            A module that is not loaded is left alone until it is.
        name: of a function, method, property, class or object.
        make: gives ours, told theirs; of a property its getter, of a method the plain function.
        why: what would be wrong without, in a few words: docs/torch_surface.md has them all.
        is_added: torch has no such name.
        is_optional: not every torch that we support has it, and where it lacks, nothing is replaced.
        is_attribute: readers look it up in its owner each time, so that it is set there and nowhere else:
            a module's variable, or a class that nobody else holds.
    """

    owner: str
    name: str
    make: Callable[[Any], Any]
    why: str
    is_added: bool = False
    is_optional: bool = False
    is_attribute: bool = False

    @property
    def module(self) -> str:
        """The name of the module that has to be loaded."""
        return self.owner.partition(":")[0]

    @property
    def is_of_torch(self) -> bool:
        """Whether torch has it, and not Python's library or another package."""
        return self.module.partition(".")[0] == "torch"

    def __str__(self) -> str:
        return f"{self.owner.replace(':', '.')}.{self.name}"

    def loaded_owner(self) -> Any:
        """What has the name, once its module is loaded.

        Raises:
            AttributeError: the module has no such class or attribute.
        """
        found: Any = sys.modules[self.module]
        for part in filter(None, self.owner.partition(":")[2].split(".")):
            found = getattr(found, part)
        return found


def with_original(own: Callable[..., Any]) -> Make:
    """What makes a function that calls `own`, given theirs first."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def function(*args: Any, **kwargs: Any) -> Any:
            return own(original, *args, **kwargs)

        return function

    return make
