"""The stub of the C++ module names what the module holds, and `polyrank` its errors."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polyrank
import pytest
from polyrank import _C, errors

# Names of the stub that are types for the reader alone.
ALIASES = {"Geometry"}


def stub_of_module() -> list[ast.stmt]:
    """What the stub's files say."""
    files = sorted(Path(polyrank.__file__).parent.glob("_C*.pyi"))
    nodes = [node for file in files for node in ast.parse(file.read_text()).body]
    return [each for node in nodes for each in _of_this_python(node)]


def _of_this_python(node: ast.stmt) -> list[ast.stmt]:
    if not isinstance(node, ast.If):
        return [node]
    holds = eval(ast.unparse(node.test), {"sys": sys})
    return node.body if holds else node.orelse


def test_stub_names_what_the_module_has() -> None:
    named = set()
    for node in stub_of_module():
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            named.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            named.add(node.target.id)  # a number
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
    wrong = []
    num_compared = 0
    for function, own in functions_of_stub(stub_of_module(), _C):
        names, in_stub = arguments_in_module(own), arguments_in_stub(function)
        if names is None or in_stub is None or any(name.startswith("arg") for name in names):
            continue
        num_compared += 1
        if names != in_stub:
            wrong.append((function.name, in_stub, names))
    assert wrong == []
    assert num_compared > 100


def test_the_package_exports_what_its_stub_says() -> None:
    stub = ast.parse((Path(polyrank.__file__).parent / "__init__.pyi").read_text())
    (listed,) = (node.value for node in stub.body if isinstance(node, ast.Assign))
    assert sorted(polyrank.__all__) == ast.literal_eval(listed)
    for name in polyrank.__all__:
        assert getattr(polyrank, name) is vars(polyrank)[name]
        assert name in dir(polyrank)


NAMES_THAT_MODULES_HAVE_TOO = """
import sys
import polyrank
assert "torch" not in sys.modules
import polyrank.lockstep_world.lockstep
import polyrank.install.names
import polyrank.fake
from polyrank import install, lockstep, trace, virtual_gpu
from polyrank.lockstep_world.lockstep import reduction_order
assert callable(lockstep) and callable(trace) and callable(install) and callable(virtual_gpu)
assert polyrank.lockstep is lockstep and polyrank.reduction_order is reduction_order
assert polyrank.dist2 is sys.modules["polyrank.dist2"]
try:
    polyrank.nothing
except AttributeError as error:
    assert "module 'polyrank' has no attribute 'nothing'" in str(error)
else:
    raise SystemExit("there is something")
"""


def test_functions_keep_the_names_that_modules_have_too() -> None:
    subprocess.run([sys.executable, "-c", NAMES_THAT_MODULES_HAVE_TOO], check=True, timeout=60)


WITHOUT_TORCH = """
import sys
from polyrank.cli.app import main
sys.argv[1:] = {arguments}
try:
    main()
except SystemExit as request:
    print("code", request.code)
assert "torch" not in sys.modules
"""


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["--version"], "polyrank 0", 0),
        (["run", "--help"], "--ranks", 0),
        (["run", "--rnaks", "4", "x.py"], "--rnaks", 2),
        (["run", "--ranks", "4", "there_is_no_such.py"], "there is no script", 2),
        (["run", "--ranks", "4", "--world", "thread", __file__], "did you mean", 2),
        (
            ["run", "--ranks", "4", "--world", "fake", "--schedule", "random", __file__],
            "threads",
            2,
        ),
    ],
)
def test_the_command_line_answers_before_torch_is_imported(
    arguments: list[str], said: str, code: int
) -> None:
    program = WITHOUT_TORCH.format(arguments=arguments)
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr
    assert said in run.stdout + run.stderr
    assert f"code {code}" in run.stdout


def test_errors_are_in_the_package() -> None:
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert classes <= set(polyrank.__all__)
