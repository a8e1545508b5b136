"""Operators that the programs of ranks make, which PyTorch has once: of each rank its own functions.

NOTE [Operators of ranks]
In a script on ranks that are threads each rank runs `torch.library.custom_op("mine::twice", …)`, with a
function of its own. The first makes the operator; what is registered with PyTorch calls the function
of the rank that calls. The operators live until the run ends, whatever libraries go before. What torch
registers of its own, as a rank first needs it, is the process's, and stays: torch does it once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from polyrank import _C
from polyrank.errors import UsageError
from polyrank.rank_threads.own_modules import OwnModules
from polyrank.rank_threads.shared_code import is_shared_code

__all__ = ["Operators", "RankLibrary"]

Function = Callable[..., Any]

_of_the_process: list[Any] = []  # PyTorch's modules that hold what stays


class Operators:
    """Those of one run."""

    def __init__(self, modules: OwnModules | None) -> None:
        self.modules = modules  # those of each rank
        self.libraries: list[Any] = []  # of all ranks
        self._modules: list[Any] = []  # PyTorch's, which hold what was registered
        self._schemas: dict[str, str] = {}  # by the operator's name
        self._namespaces: set[str] = set()  # that were made as one library
        self._changes: list[tuple[dict[Any, Any], Any, Any]] = []  # of tables: key, value before
        self._functions: dict[tuple[str, ...], dict[int, Function]] = {}  # by what for, by rank

    def library(
        self, rank: int, make: Function, kind: str, namespace: str, *args: Any
    ) -> RankLibrary:
        """What stands for PyTorch's part of a rank's library."""
        if kind == "DEF":
            kind = "FRAGMENT" if namespace in self._namespaces else kind
            self._namespaces.add(namespace)
        module = make(kind, namespace, *args)
        self._modules.append(module)
        return RankLibrary(self, rank, namespace, module, lambda: make("IMPL", namespace, *args))

    def is_first(self, name: str, schema: str) -> bool:
        """Whether nobody has made the operator yet.

        Raises:
            UsageError: another rank has, with another schema.
        """
        if name not in self._schemas:
            self._schemas[name] = schema
            return True
        if self._schemas[name] != schema:
            raise UsageError(
                f'ranks make the operator {name} with schemas that differ: "{self._schemas[name]}" and '
                f'"{schema}". Ranks that are threads share PyTorch\'s operators: give them different '
                "names, or run with --world processes"
            )
        return False

    def is_of_ranks(self, name: str) -> bool:
        """Whether ranks made the operator."""
        return name in self._schemas

    def by_rank(self, rank: int, what: tuple[str, ...], function: Function) -> Function | None:
        """Keep a rank's function; what calls each rank's, if it is the first for that."""
        if what in self._functions:
            self._functions[what][rank] = function
            return None
        functions = self._functions[what] = {rank: function}
        return _calling_by_rank(what, functions)

    def note_changes(self, table: dict[Any, Any], before: dict[Any, Any]) -> None:
        """What a registration changed in a table of PyTorch's, to be taken back at the end."""
        self._changes += [
            (table, key, before.get(key))
            for key, value in table.items()
            if value is not before.get(key)
        ]

    def forget(self, rank: int, what: tuple[str, ...]) -> None:
        """The rank has no function for that any more."""
        self._functions[what].pop(rank, None)

    def end(self) -> None:
        """All libraries go, and with them the operators."""
        for table, key, value in reversed(self._changes):
            if value is None:
                table.pop(key, None)
            else:
                table[key] = value
        for library in self.libraries:
            library._destroy()
        for module in self._modules:
            module.reset()


def _calling_by_rank(what: tuple[str, ...], functions: dict[int, Function]) -> Function:
    def call(*args: Any, **options: Any) -> Any:
        thread = _C.RankThread.current()
        function = None if thread is None else functions.get(thread.rank)
        if function is None:
            who = "outside of the ranks" if thread is None else f"on rank {thread.rank}"
            raise NotImplementedError(f"{' of '.join(reversed(what))} is not registered {who}")
        return function(*args, **options)

    return call


class RankLibrary:
    """In the place of what `torch._C._dispatch_library` makes, for one library of one rank."""

    def __init__(
        self,
        operators: Operators,
        rank: int,
        namespace: str,
        module: Any,
        make_shared: Callable[[], Any],
    ) -> None:
        self._operators = operators
        self._rank = rank
        self._namespace = namespace
        self._module = module
        self._make_shared = make_shared
        self._shared: Any = None
        self._registered: set[tuple[str, ...]] = set()

    def define(self, schema: str, alias_analysis: str = "", tags: tuple[Any, ...] = ()) -> str:
        """Make the operator, if no rank has; return its name."""
        name = schema.partition("(")[0]
        if self._operators.is_first(f"{self._namespace}::{name}", schema):
            self._module.define(schema, alias_analysis, tags)
        return name

    def impl(
        self, name: str, dispatch_key: str, function: Function, with_keyset: bool = False
    ) -> None:
        """Let the rank's calls run its function."""
        is_none = function is torch.library.fallthrough_kernel
        if not is_none and self._is_of_the_process(name, function):
            if self._shared is None:
                self._shared = self._make_shared()
                _of_the_process.append(self._shared)
            self._shared.impl(name, dispatch_key, function, with_keyset)
            return
        what = (self._qualified(name), dispatch_key)
        self._registered.add(what)
        by_rank = self._operators.by_rank(self._rank, what, function)
        if by_rank is not None:
            self._module.impl(name, dispatch_key, function if is_none else by_rank, with_keyset)

    def fallback(self, dispatch_key: str, function: Function, with_keyset: bool = False) -> None:
        """As impl(), of all operators of the namespace."""
        what = (self._namespace, dispatch_key)
        self._registered.add(what)
        if (by_rank := self._operators.by_rank(self._rank, what, function)) is not None:
            self._module.fallback(dispatch_key, by_rank, with_keyset)

    def register_ad_inplace_or_view_fallback(self, name: str) -> None:
        """PyTorch's own kernel: once is enough."""
        if self._operators.is_first(f"views of {self._qualified(name)}", ""):
            self._module.register_ad_inplace_or_view_fallback(name)

    def reset(self) -> None:
        """The rank's functions go; the operators stay for the others."""
        for what in self._registered:
            self._operators.forget(self._rank, what)
        self._registered.clear()

    def _is_of_the_process(self, name: str, function: Function) -> bool:
        if self._operators.is_of_ranks(self._qualified(name)):
            return False  # whoever writes its kernels: torch does, around functions of the rank
        return is_shared_code(function, self._operators.modules)

    def _qualified(self, name: str) -> str:
        return name if "::" in name else f"{self._namespace}::{name}"
