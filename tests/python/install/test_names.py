"""Every name of PyTorch's simulator, one by one, against the installed torch."""

from __future__ import annotations

import inspect
import subprocess
import sys
from types import ModuleType
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed.tensor
import torch.distributed.tensor._ops.strategy_validation
import torch.testing._internal.distributed._tensor.common_dtensor as common_dtensor
from polyrank.install import names
from torch.distributed import _local_tensor
from torch.distributed._local_tensor import _c10d

MODULES = [
    pytest.param(_local_tensor, names.OURS, names.KEPT, id="_local_tensor"),
    pytest.param(_c10d, names.C10D_OURS, names.C10D_KEPT, id="_c10d"),
]
# Names that PyTorch assigns at module level: nothing but the module tells that they are its own.
ASSIGNED = {
    "_LOCAL_RUNNER_MODE",
    "_LOCAL_TENSOR_ATTR_PREFIX",
    "_PATCHED_DEVICE_MESH_METHODS",
    "_PATCHED_DIST_FUNCTIONS",
    "_PATCHED_RANDOM_FUNCTIONS",
    "_PROCESS_LOCAL_TENSOR_MODE",
    "_PROCESS_MODE",
    "_THREAD_LOCAL_TENSOR_MODE",
}
# Those that not every supported torch has.
NEWER = {"_LocalDist", "_PATCHED_DIST_FUNCTIONS", "_reduce_op_and_factor"}
ORIGINALS: dict[str, dict[str, Any]] = {
    module.__name__: dict(vars(module)) for module in (_local_tensor, _c10d)
}


def defined_in(module: ModuleType) -> set[str]:
    """The names that the module itself defines, as PyTorch has it."""
    own = {
        name
        for name, value in ORIGINALS[module.__name__].items()
        if getattr(value, "__module__", None) == module.__name__
    }
    return own | (ASSIGNED & set(vars(module)))


def shape_of(function: Any) -> list[tuple[str, Any, bool]]:
    """Names, kinds and defaults of the parameters."""
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default is not inspect.Parameter.empty) for p in parameters]


@pytest.mark.parametrize(("module", "ours", "kept"), MODULES)
def test_each_name_is_placed_or_kept(
    module: ModuleType, ours: dict[str, Any], kept: frozenset[str]
) -> None:
    assert defined_in(module) <= set(ours) | kept
    assert (set(ours) | kept) - defined_in(module) <= NEWER
    assert not set(ours) & kept


@pytest.mark.parametrize(("module", "ours", "kept"), MODULES)
def test_functions_have_the_parameters_of_pytorchs(
    module: ModuleType, ours: dict[str, Any], kept: frozenset[str]
) -> None:
    for name, function in ours.items():
        if inspect.isfunction(ORIGINALS[module.__name__][name]):
            assert shape_of(function) == shape_of(ORIGINALS[module.__name__][name]), name


# Of PyTorch's own bookkeeping, which nothing outside of its module can use.
INTERNAL = {"LocalTensor": {"__slots__"}}


@pytest.mark.parametrize(
    "name", [name for name, value in sorted(names.OURS.items()) if inspect.isclass(value)]
)
def test_classes_have_the_members_of_pytorchs(name: str) -> None:
    theirs, ours = ORIGINALS[_local_tensor.__name__][name], names.OURS[name]
    common = {"__module__", "__doc__", "__dict__", "__weakref__", "__annotations__"}
    common.add("__slotnames__")  # what copyreg leaves in a class once an object of it was copied
    for member in set(vars(theirs)) - common - INTERNAL.get(name, set()):
        assert hasattr(ours, member), f"{name}.{member}"


@pytest.mark.parametrize("name", ["_LocalDeviceHandle", "_LocalDeviceMesh", "_LocalRandom"])
def test_methods_have_the_parameters_of_pytorchs(name: str) -> None:
    theirs, ours = ORIGINALS[_local_tensor.__name__][name], names.OURS[name]
    for member, method in vars(theirs).items():
        if inspect.isfunction(method) or isinstance(method, staticmethod):
            assert shape_of(getattr(ours, member)) == shape_of(getattr(theirs, member)), member


def test_methods_of_local_int_node_take_the_keywords_of_pytorchs() -> None:
    theirs = ORIGINALS[_local_tensor.__name__]["LocalIntNode"]
    node = names.OURS["LocalIntNode"]({0: 3, 1: 5})
    given = {"other": node, "num": 4}
    for member, method in vars(theirs).items():
        if not inspect.isfunction(method) or member.startswith("__"):
            continue
        keywords = {name: given[name] for name in list(inspect.signature(method).parameters)[1:]}
        if member == "sym_sum":
            keywords = {"other": [node, node]}
        assert getattr(node, member)(**keywords) is not NotImplemented, member


def all_names() -> dict[tuple[str, str], int]:
    return {
        (module_name, name): id(value)
        for module_name, module in list(sys.modules.items())
        if isinstance(module, ModuleType) and module_name.startswith("torch")
        for name, value in list(vars(module).items())
    }


def test_install_reaches_modules_that_imported_the_names_before() -> None:
    assert common_dtensor.LocalTensor is ORIGINALS[_local_tensor.__name__]["LocalTensor"]
    polyrank.install()
    try:
        assert common_dtensor.LocalTensor is polyrank.LocalTensor
        validation = torch.distributed.tensor._ops.strategy_validation
        assert validation.LocalTensor is polyrank.LocalTensor
        assert issubclass(validation.LocalTensorMode, polyrank.LocalTensorMode)
    finally:
        polyrank.uninstall()


def test_uninstall_restores_all() -> None:
    polyrank.install()  # what it imports stays imported
    polyrank.uninstall()
    before = all_names()
    polyrank.install()
    assert all_names() != before
    polyrank.install()  # idempotent: one uninstall() undoes two
    polyrank.uninstall()
    assert all_names() == before


def test_a_module_of_torch_imported_while_installed_is_restored(installed: None) -> None:
    module = ModuleType("torch._imported_later")
    vars(module)["LocalTensor"] = _local_tensor.LocalTensor
    sys.modules[module.__name__] = module
    try:
        polyrank.uninstall()
        assert vars(module)["LocalTensor"] is ORIGINALS[_local_tensor.__name__]["LocalTensor"]
    finally:
        del sys.modules[module.__name__]


def test_older_names_are_there_while_installed(installed: None) -> None:
    assert set(names.OLDER) <= set(vars(_local_tensor))
    polyrank.uninstall()
    assert not set(names.OLDER) & set(vars(_local_tensor))


IMPORT_ALONE = """
import sys, types, torch, torch.distributed.tensor, torch.distributed.fsdp
from torch.distributed.device_mesh import DeviceMesh

def held():
    owners = [m for n, m in sorted(sys.modules.items()) if n.partition('.')[0] == 'torch']
    owners = [m for m in owners if isinstance(m, types.ModuleType)] + [DeviceMesh, torch.Tensor]
    return {id(o): {n: id(v) for n, v in vars(o).items()} for o in owners}

before = held()
import polyrank
after = held()
changed = [n for o, names in before.items() for n in names if after[o].get(n) != names[n]]
assert not changed, changed
"""


def test_importing_polyrank_alone_changes_nothing_in_torch() -> None:
    subprocess.run([sys.executable, "-c", IMPORT_ALONE], check=True, timeout=120)
