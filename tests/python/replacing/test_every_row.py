"""Every row of every world, held in every way: a new row is tested here without a word more."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import itertools
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib.util import find_spec
from types import FunctionType, MethodDescriptorType, MethodType, ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank.divergence.order.losses import Losses, told_of_backward
from polyrank.rank_threads.torch_globals import globals_by_thread
from polyrank.replacing import layers, place
from polyrank.replacing.attribute import Attribute
from polyrank.replacing.held_object import HeldObject
from polyrank.replacing.place import place_of
from polyrank.replacing.replacements import Replacements
from polyrank.replacing.row import Row
from polyrank.virtual_gpu.rank_devices import each_ranks_gpu
from polyrank.worlds.process_group import fake_process_group, lockstep_process_group
from polyrank.worlds.real.nccl_without_gpus import gloo_for_nccl
from torch_builds import needs_cpu_build

if TYPE_CHECKING:
    from pathlib import Path


@contextlib.contextmanager
def installed() -> Iterator[None]:
    polyrank.install()
    try:
        yield
    finally:
        polyrank.uninstall()


@contextlib.contextmanager
def fake_run() -> Iterator[None]:
    with installed(), fake_process_group(4, 1):
        yield


def virtual_gpus() -> AbstractContextManager[None]:
    if torch.backends.cuda.is_built():
        pytest.skip(needs_cpu_build.kwargs["reason"])
    return polyrank.virtual_gpu(2)


@contextlib.contextmanager
def seeded_by_rank() -> Iterator[None]:
    with polyrank.lockstep(4):
        random.seed(dist.get_rank())
        yield


# How each world is entered as its users do. A new world is a line.
WORLDS: dict[Replacements, Callable[[], AbstractContextManager[Any]]] = {
    layers.INSTALL: installed,
    layers.FAKE: lambda: polyrank.fake_world(4),
    layers.LOCKSTEP_GROUPS: lambda: polyrank.lockstep(4),
    layers.LOCKSTEP_MESHES: lambda: polyrank.lockstep(4),
    layers.LOCKSTEP_SEEDS: lambda: polyrank.lockstep(4),
    layers.LOCKSTEP_MODE: lambda: polyrank.lockstep(4),
    layers.LOCKSTEP_DRAWS: seeded_by_rank,
    layers.LOCKSTEP_BLOCK: lambda: polyrank.lockstep(4),
    layers.PROCESS_TESTS: layers.PROCESS_TESTS.on,
    layers.PROCESSES: layers.PROCESSES.on,
    layers.THREADS: globals_by_thread,
    layers.VIRTUAL_GPU: virtual_gpus,
    layers.WITHOUT_BYTES: layers.WITHOUT_BYTES.on,
    layers.LOCKSTEP_RUN: lambda: lockstep_process_group(4, 4),
    layers.RANKS_GPUS: each_ranks_gpu,
    layers.FAKE_RUN: fake_run,
    layers.REAL_RUN: gloo_for_nccl,
    layers.LOSSES: lambda: told_of_backward(Losses()),
}


class Reached(Exception):
    """Raised by a row's function while the row is looked for."""


wanted: list[Row] = []  # the row that is looked for, if any


def spied(row: Row) -> Row:
    """A row whose function says that it was reached, and lets other rows' be reached."""
    make = row.make

    def make_spy(original: Any) -> Any:
        own = make(original)
        if isinstance(own, type) or not callable(own):
            return own

        @functools.wraps(own)
        def spy(*args: Any, **kwargs: Any) -> Any:
            if wanted == [row]:
                raise Reached
            return (original if wanted else own)(*args, **kwargs)

        return spy

    return Row(
        row.owner, row.name, make_spy, row.why, is_added=row.is_added, is_attribute=row.is_attribute
    )


def is_installed(row: Row) -> bool:
    """Whether the package is here: those of others (triton) need not be."""
    return row.is_of_torch or find_spec(row.module.partition(".")[0]) is not None


@pytest.fixture(scope="module", autouse=True)
def spies() -> Iterator[None]:
    """All rows spied on."""
    for replacements in layers.ALL:
        for row in filter(is_installed, replacements.rows):
            importlib.import_module(row.module)
        with replacements.on():
            pass  # places its rows
    before = {known: dict(known.rows) for known in place._places.values()}
    for known, rows in before.items():
        known.rows.update({layer: spied(row) for layer, row in rows.items()})
        known.changed()
    yield
    for known, rows in before.items():
        known.rows.update(rows)
        known.changed()


def test_each_world_can_be_entered() -> None:
    assert set(WORLDS) == set(layers.ALL)


counter = itertools.count()


class User:
    """A program that holds an object in all ways, from before the world is entered."""

    def __init__(self, row: Row, held: Any, folder: Path) -> None:
        self.row = row
        self.folder = folder
        self.module = ModuleType(f"user_{next(counter)}")
        sys.modules[self.module.__name__] = self.module
        vars(self.module)[row.name] = held
        self.renamed = self._load("before", held)

        class Holder:
            attribute = held

        def of_closure() -> Any:
            return held

        def by_default(given: Any = held, *, named: Any = held) -> tuple[Any, Any]:
            return given, named

        self.holder = Holder
        self.of_closure = of_closure
        self.by_default = by_default
        self.containers = {"list": [held], "dict": {"key": held}, "set": SimpleNamespace(x=held)}
        self.partial = functools.partial(held) if callable(held) else None

    def _load(self, name: str, held: Any) -> ModuleType:
        """A module that has the object under another name, by an import where that can be."""
        module = f"user_{name}_{next(counter)}"
        if ":" in self.row.owner:
            source = f"from {__name__} import found as _found\nrenamed = _found[{module!r}]\n"
            found[module] = held
        else:
            source = f"from {self.row.owner} import {self.row.name} as renamed\n"
        (self.folder / f"{module}.py").write_text(source)
        importlib.invalidate_caches()
        return importlib.import_module(module)

    def loads_now(self) -> Any:
        """What a module gets that is loaded while the world is on."""
        return self._load("after", held_of(self.row)).renamed

    def holds(self) -> dict[str, Any]:
        """What the program has now, by the way in which it holds it."""
        return {
            "a module's attribute": vars(self.module)[self.row.name],
            "an import under another name": vars(self.renamed)["renamed"],
            "a default": self.by_default()[0],
            "a keyword's default": self.by_default()[1],
            "a closure": self.of_closure(),
            "an attribute of a class": vars(self.holder)["attribute"],
        }

    def holds_besides(self) -> dict[str, Any]:
        """In ways in which functions alone are reached."""
        return {
            "a list": self.containers["list"][0],  # type: ignore[index]
            "a dict": self.containers["dict"]["key"],  # type: ignore[index]
            "an attribute of an object": vars(self.containers["set"])["x"],
            "a partial": self.partial,
        }


found: dict[str, Any] = {}


def held_of(row: Row) -> Any:
    """What a program gets from torch under the row's name."""
    held = inspect.getattr_static(row.loaded_owner(), row.name)
    if isinstance(held, property):
        return held.fget
    if isinstance(held, MethodType):
        return held
    return getattr(held, "__func__", held)


def call(held: Any) -> None:
    """Call with as many arguments as it needs."""
    function = held.func if isinstance(held, functools.partial) else held
    if isinstance(function, MethodDescriptorType):
        owner = function.__objclass__
        held(torch.zeros(1) if issubclass(torch.Tensor, owner) else owner())
        return
    num_bound = isinstance(function, MethodType)
    function = getattr(function, "__func__", function)
    if not isinstance(function, FunctionType):
        held()
        return
    code = function.__code__
    needed = code.co_argcount - len(function.__defaults__ or ()) - num_bound
    names = code.co_varnames[code.co_argcount :][: code.co_kwonlyargcount]
    held(*[None] * max(needed, 0), **dict.fromkeys(names))


def is_reached(row: Row, held: Any) -> bool:
    wanted.append(row)
    try:
        call(held)
    except Reached:
        return True
    except Exception:  # noqa: BLE001 - theirs, called with nothing
        return False
    finally:
        wanted.clear()
    return False


class Case:
    """A row, and a program that holds what it is about."""

    def __init__(self, row: Row, folder: Path) -> None:
        self.row = row
        known = place_of(row)
        assert known is not None
        self.target = known.target
        self.is_attribute = isinstance(self.target, Attribute)
        self.is_object = isinstance(self.target, HeldObject)
        self.before = vars(row.loaded_owner()).get(row.name) if self.is_attribute else held_of(row)
        self.code = getattr(self.before, "__code__", None)
        self.look = look_of(self.before)
        # Whatever class it is an attribute of, it is looked up there.
        self.user = None if self.is_attribute else User(row, self.before, folder)

    def faults(self) -> list[str]:
        """What is wrong while the world is on."""
        if self.user is None:
            now = vars(self.row.loaded_owner())[self.row.name]
            is_function = callable(now) and not isinstance(now, type)
            is_same = self.row.make(self.before) is self.before  # ours is what theirs happens to be
            is_put = is_reached(self.row, now) if is_function else is_same or now is not self.before
            return [] if is_put else ["not put"]
        holders = {**self.user.holds(), "a module loaded after": self.user.loads_now()}
        if not self.is_object:
            return self._faults_of_function({**holders, **self.user.holds_besides()})
        ours = held_of(self.row)
        if ours is self.before:
            return ["not put"]
        if not isinstance(self.before, type):
            holders = {how: held for how, held in holders.items() if "module" in how}
        return [f"{how} is not reached" for how, held in holders.items() if held is not ours]

    def _faults_of_function(self, holders: dict[str, Any]) -> list[str]:
        faults = [
            f"{how} is not reached"
            for how, held in holders.items()
            if not is_reached(self.row, held)
        ]
        if any(held is not self.before for how, held in holders.items() if how != "a partial"):
            faults.append("another object")
        return faults if look_of(self.before) == self.look else [*faults, "looks otherwise"]

    def is_as_before(self) -> bool:
        """Whether theirs is back, with all who hold it."""
        if self.user is None:
            return vars(self.row.loaded_owner()).get(self.row.name) is self.before
        if not all(held is self.before for held in self.user.holds().values()):
            return False
        if isinstance(self.before, FunctionType):
            return self.before.__code__ is self.code
        return self.is_object or not is_reached(self.row, self.before)


def look_of(held: Any) -> list[Any]:
    """What `inspect`, pickle and torch's tables see."""
    names = ("__name__", "__qualname__", "__module__", "__doc__", "__self__", "__text_signature__")
    looks = [getattr(held, name, None) for name in names]
    if isinstance(held, FunctionType):
        looks += [held.__defaults__, held.__kwdefaults__]
        looks += [inspect.signature(held), inspect.getsourcelines(held)]
    return looks


@pytest.mark.parametrize("replacements", layers.ALL, ids=lambda one: one.name)
def test_whoever_holds_a_name_is_reached(
    replacements: Replacements, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    rows = filter(is_installed, replacements.rows)
    there = [row for row in rows if not row.is_optional or place_of(row) is not None]
    cases = [Case(row, tmp_path) for row in there]
    with WORLDS[replacements]():
        faults = {str(case.row): found for case in cases if (found := case.faults())}
    assert not faults
    assert not [str(case.row) for case in cases if not case.is_as_before()]
