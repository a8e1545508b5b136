"""Python modules of which each rank has its own copy, as in a process of its own.

NOTE [Modules of ranks]
`sys.modules` stays the one dict that Python's C code, pickle, dataclasses and typing read. When the
turn changes hands, the modules that are a rank's own are taken out of it and those of the next rank
put in, so that an `import` finds the rank's or loads it anew. Own are all modules but
  - those that were there before ranks started (the program's, whose `__main__` is own, are not);
  - the standard library's, torch's and polyrank's;
  - installed packages that load a compiled part of theirs as they are imported themselves (numpy,
    pandas), and what these import meanwhile: their C code holds on to objects that exist once; and
    packages known to register with such ones.
A compiled module inside of a package that is own is shared by the ranks: C code can be loaded once.
`polyrank run --own-module`, `--shared-module` say otherwise, and `--verbose` tells what was shared.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

__all__ = ["OwnModules", "import_locks", "is_shared", "loads_shared", "package_of"]

_SHARED = frozenset(
    {
        *sys.stdlib_module_names,
        "functorch",
        "polyrank",
        "polyrank_command",
        "polyrank_pytest",
        "torch",
        "torchgen",
    }
)
# Packages without compiled parts that register something, once, with one that has.
_REGISTERING = frozenset({"datasets"})  # Hugging Face's: types of pyarrow
_BOOTSTRAP = sys.modules["_frozen_importlib"]
# Modules that Cython's extensions make, for what they have in common.
_CYTHON = ("_cython_", "cython_runtime")
_INSTALLED = frozenset({"site-packages", "dist-packages"})


def package_of(name: str) -> str:
    """The name of the package that a module of that name is in."""
    return name.partition(".")[0]


def is_shared(module: str, modules: OwnModules | None) -> bool:
    """Whether ranks share the module, other than as the function of run_ranks() shares its own."""
    package = package_of(module)
    if package == "polyrank":
        return False
    return package in _SHARED or (modules is not None and modules.are_shared(package))


def _is_extension(module: Any) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and file.endswith(tuple(EXTENSION_SUFFIXES))


def _is_installed(package: Any) -> bool:
    folders = [Path(folder) for folder in getattr(package, "__path__", ())]
    return any(not _INSTALLED.isdisjoint(folder.parts) for folder in folders)


class _LoadedExtension:
    """Gives a rank an extension that another one has loaded."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # which the import machinery has replaced


class OwnModules:
    """Which modules are ranks' own.

    `own` names packages that are own although they would not be, `shared` the contrary. With
    `others` False only those that are named are own.
    """

    def __init__(
        self, *, own: Iterable[str] = (), shared: Iterable[str] = (), others: bool = True
    ) -> None:
        self._is_own_package: dict[str, bool] = dict.fromkeys(_SHARED | _REGISTERING, False)
        self._is_own_package.update(dict.fromkeys(map(package_of, sys.modules), False))
        self._is_own_package.update(dict.fromkeys(shared, False))
        self._is_own_package.update(dict.fromkeys((*own, "__main__"), True))
        self._others = others
        self._importer: dict[str, str] = {}  # of packages, the one that first imported them
        self._with_package: set[str] = set()  # modules that were imported as their package was
        self._reason: dict[str, str] = {}  # why packages are shared, of those that were found
        self._extensions: dict[str, ModuleType] = {}
        self._on_import: Callable[[], None] = lambda: None

    def present(self) -> dict[str, Any]:
        """Those of the rank whose turn it is."""
        return {
            name: module
            for name, module in tuple(sys.modules.items())
            if self._is_own(name, module)
        }

    def are_shared(self, package: str) -> bool:
        """Whether ranks share it where others are their own."""
        return self._others and not self._is_own_one(package)

    # --- as a finder, at the head of sys.meta_path ---

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Watches what is loaded; finds extensions that another rank has loaded."""
        self._on_import()
        if package_of(name) not in self._is_own_package:
            self._note_who_imports(name, sys._getframe(1))
        if (known := self._extensions.get(name)) is None:
            return None
        origin = known.__file__
        return ModuleSpec(name, _LoadedExtension(known), origin=origin)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def watching(self, on_import: Callable[[], None]) -> Iterator[None]:
        """See all imports, and say so."""
        self._on_import = on_import
        sys.meta_path.insert(0, self)
        try:
            yield
        finally:
            sys.meta_path.remove(self)

    def _is_own(self, name: str, module: Any) -> bool:
        is_own = self._is_own_one(package_of(name))
        if is_own and _is_extension(module):
            self._extensions.setdefault(name, module)
        return is_own

    def _note_who_imports(self, name: str, frame: FrameType | None) -> None:
        package = package_of(name)
        if name == package:
            if (importer := module_being_loaded(frame)) is not None:
                self._importer.setdefault(name, package_of(importer))
            return
        while frame is not None:
            if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == package:
                self._with_package.add(name)
                return
            frame = frame.f_back

    def _is_own_one(self, package: str) -> bool:
        if package not in self._is_own_package:
            reason = self._why_shared(package)
            self._is_own_package[package] = self._others and reason is None
            if self._others and reason is not None:
                self._reason[package] = reason
        return self._is_own_package[package]

    def _why_shared(self, package: str) -> str | None:
        module = sys.modules.get(package)
        if _is_extension(module) or package.startswith(_CYTHON):
            return "compiled"
        parts = (name for name in self._with_package if package_of(name) == package)
        if _is_installed(module) and any(_is_extension(sys.modules.get(name)) for name in parts):
            return "loads a compiled part as it is imported"
        importer = self._importer.get(package)
        if importer not in (None, package) and not self._is_own_one(importer):
            return f"imported by {importer}"
        return None

    def told(self) -> str:
        """A line for each package that ranks share though others are their own, and why."""
        return "".join(
            f"ranks share {package}: {reason}\n"
            for package, reason in sorted(self._reason.items())
            if not package.startswith(_CYTHON)
        ) + "".join(
            f"ranks share {name}: a compiled module of a package that is own\n"
            for name in sorted(self._extensions)
        )


def module_being_loaded(frame: FrameType | None) -> str | None:
    """The name of the module whose code has led to the call in this frame; None if none has."""
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            name = frame.f_globals.get("__name__")
            return name if isinstance(name, str) else None
        frame = frame.f_back
    return None


def loads_shared(frame: FrameType | None, modules: OwnModules | None) -> bool:
    """Whether the code of a module that ranks share, which is being loaded, has led to the call in this frame."""
    loaded = module_being_loaded(frame)
    return loaded is not None and is_shared(loaded, modules)


def import_locks() -> tuple[ModuleType, str]:
    """Where Python has the locks of modules that are being loaded, by name: each rank has its own.

    A rank that waits for others while it loads a module must not keep them from loading theirs.
    """
    return _BOOTSTRAP, "_module_locks"
