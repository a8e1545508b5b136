"""The stub of the C++ module names what the module holds."""

import ast
from pathlib import Path

import polyrank
from polyrank import _C

# Names of the stub that are types for the reader alone.
ALIASES = {"Geometry"}


def test_stub_names_what_the_module_has() -> None:
    stub = ast.parse((Path(polyrank.__file__).parent / "_C.pyi").read_text())
    named = set()
    for node in stub.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            named.add(node.name)
    present = {name for name in vars(_C) if not name.startswith("_")}
    assert named - ALIASES == present
