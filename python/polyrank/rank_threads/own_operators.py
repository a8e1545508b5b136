"""What of PyTorch makes operators, for ranks that are threads: NOTE [Operators of ranks]."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from polyrank.rank_threads.own_modules import loads_shared
from polyrank.rank_threads.rank_globals import RankGlobals, rank_globals
from polyrank.replacing.row import Row

__all__ = ["ROWS"]


def _maker() -> RankGlobals | None:
    """The rank whose program makes an operator; None where a shared module does as it is loaded."""
    own = rank_globals()
    if own is None:
        return None
    return None if loads_shared(sys._getframe(2), own.operators.modules) else own


def _wrap_dispatch_library(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def dispatch_library(kind: str, namespace: str, *args: Any) -> Any:
        own = _maker()
        if own is None:
            return original(kind, namespace, *args)
        rank = own.rank_thread.rank
        return own.operators.library(rank, original, kind, namespace, *args)

    return dispatch_library


def _wrap_library_init(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def init(self: Any, *args: Any, **options: Any) -> None:
        own = _maker()
        original(self, *args, **options)
        if own is not None:
            own.operators.libraries.append(self)

    return init


def _wrap_register_fake(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def register_fake(
        self: Any, name: str, function: Callable[..., Any], _stacklevel: int = 1, **options: Any
    ) -> None:
        own = _maker()
        if own is not None:
            what = (f"{self.ns}::{name}", "the fake kernel")
            by_rank = own.operators.by_rank(own.rank_thread.rank, what, function)
            if by_rank is None:
                return
            function = by_rank
        original(self, name, function, _stacklevel + 1, **options)

    return register_fake


def _wrap_add_decomposition(original: Callable[..., None]) -> Callable[..., None]:
    """`_add_op_to_registry`, which takes an operator once, or the function that comes last."""

    @functools.wraps(original)
    def add(registry: dict[Any, Any], op: Any, function: Callable[..., Any]) -> None:
        own = _maker()
        if own is None:
            return original(registry, op, function)
        what = (str(op), "the decomposition", str(id(registry)))
        by_rank = own.operators.by_rank(own.rank_thread.rank, what, function)
        if by_rank is not None:
            before = dict(registry)
            original(registry, op, by_rank)
            own.operators.note_changes(registry, before)
        return None

    return add


def _wrap_library_to_overwrite(original: Callable[..., Any]) -> Callable[..., Any]:
    """`get_library_allowing_overwrite`, which destroys the library that made an operator before."""

    @functools.wraps(original)
    def library_to_overwrite(namespace: str, name: str) -> Any:
        own = _maker()
        if own is None:
            return original(namespace, name)
        from torch._library import custom_ops

        known, qualified = custom_ops.OPDEF_TO_LIB, f"{namespace}::{name}"
        theirs = known.pop(qualified, None)
        if (before := own.operator_libraries.get(qualified)) is not None:
            known[qualified] = before
        try:
            library = own.operator_libraries[qualified] = original(namespace, name)
        finally:
            known.pop(qualified, None)
            if theirs is not None:
                known[qualified] = theirs
        return library

    return library_to_overwrite


def _wrap_definition_init(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def init(self: Any, *args: Any, **options: Any) -> None:
        original(self, *args, **options)
        if (own := _maker()) is not None:
            own.operator_definitions[self._qualname] = self

    return init


def _wrap_find_definition(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`_maybe_get_opdef`, by which operators are found that a name tells."""

    @functools.wraps(original)
    def find(op: Any) -> Any:
        own = rank_globals()
        if own is not None:
            name = op if isinstance(op, str) else getattr(op, "_name", None)
            if name in own.operator_definitions:
                return own.operator_definitions[name]
        return original(op)

    return find


_WHY = "makes an operator for the process, with the function of the last rank"
_LIBRARY = "torch.library:Library"
_CUSTOM_OPS = "torch._library.custom_ops"

ROWS = (
    Row("torch._C", "_dispatch_library", _wrap_dispatch_library, _WHY),
    Row(_LIBRARY, "__init__", _wrap_library_init, _WHY),
    Row(_LIBRARY, "_register_fake", _wrap_register_fake, _WHY),
    Row("torch._decomp", "_add_op_to_registry", _wrap_add_decomposition, _WHY),
    Row(_CUSTOM_OPS, "get_library_allowing_overwrite", _wrap_library_to_overwrite, _WHY),
    Row(f"{_CUSTOM_OPS}:CustomOpDef", "__init__", _wrap_definition_init, _WHY),
    Row(_CUSTOM_OPS, "_maybe_get_opdef", _wrap_find_definition, _WHY),
)
