"""The stub of the C++ module names what the module holds, and `polyrank` its errors."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polyrank
from polyrank import _C, errors

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


def arguments_in_stub(function: ast.FunctionDef) -> list[str] | None:
    """Names of the arguments, without `self`; None if some are given by position alone."""
    arguments = function.args
    if arguments.posonlyargs:
        return None
    names = [argument.arg for argument in arguments.args]
    is_method = bool(names) and names[0] == "self"
    names = names[is_method:] + [argument.arg for argument in arguments.kwonlyargs]
    if arguments.vararg is not None:
        names.append(f"*{arguments.vararg.arg}")
    return [*names, *([] if arguments.kwarg is None else [f"**{arguments.kwarg.arg}"])]


def arguments_in_module(function: Any) -> list[str] | None:
    """Names of the arguments as pybind11's signature has them; None if it has none, or several."""
    first_line = (function.__doc__ or "").partition("\n")[0]
    signature = re.fullmatch(r"\w+\((.*)\) -> .*", first_line)
    if signature is None or "Overloaded" in (function.__doc__ or ""):
        return None
    nested = re.compile(r"\[[^][]*\]|<[^<>]*>")
    text = signature[1]
    while nested.search(text):
        text = nested.sub("", text)
    names = [argument.partition(":")[0].strip() for argument in text.split(",") if argument.strip()]
    return [name for name in names if name not in ("self", "*", "/")]


def functions_of_stub(body: list[ast.stmt], owner: Any) -> Iterator[tuple[ast.FunctionDef, Any]]:
    """Functions and methods of the stub, each with the module's of that name."""
    for node in body:
        if isinstance(node, ast.FunctionDef) and hasattr(owner, node.name):
            yield node, getattr(owner, node.name)
        elif isinstance(node, ast.ClassDef) and node.name not in ALIASES:
            yield from functions_of_stub(node.body, getattr(owner, node.name))


def test_stub_names_the_arguments_as_the_module_does() -> None:
    stub = ast.parse((Path(polyrank.__file__).parent / "_C.pyi").read_text())
    wrong = []
    num_compared = 0
    for function, own in functions_of_stub(stub.body, _C):
        names, in_stub = arguments_in_module(own), arguments_in_stub(function)
        if names is None or in_stub is None or any(name.startswith("arg") for name in names):
            continue
        num_compared += 1
        if names != in_stub:
            wrong.append((function.name, in_stub, names))
    assert wrong == []
    assert num_compared > 100


def test_errors_are_in_the_package() -> None:
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert classes <= set(polyrank.__all__)
