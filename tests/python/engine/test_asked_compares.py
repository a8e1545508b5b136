"""Text that differs between ranks is compared with other text where much other text was compared before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polyrank
import pytest
import torch.distributed as dist
from polyrank import DivergenceError
from polyrank.numbers.rank_dependent_numbers import number_on_rank

HAS_TOOLS = pytest.mark.skipif(
    not hasattr(sys, "monitoring"), reason="this Python counts runs of code instead"
)

MANY = 1000  # Python has put its own instruction in the place long before


def is_equal(left: object, right: object) -> bool:
    return left == right


def is_unequal(left: object, right: object) -> bool:
    return left != right


def branches_if_equal(left: object, right: object) -> bool:
    if left == right:
        return True
    return right is None


def branches_if_unequal(left: object, right: object) -> bool:
    if left != right:
        return True
    return right is None


def matches(left: object, right: object) -> bool:
    match left:
        case "expert1":
            return right == "expert1"
    return False


@pytest.mark.parametrize(
    "compare", [is_equal, is_unequal, branches_if_equal, branches_if_unequal, matches]
)
def test_a_place_that_has_compared_much_text_asks(
    compare: Callable[[object, object], bool],
) -> None:
    for number in range(MANY):
        compare(f"expert{number}", "expert1")
    with polyrank.lockstep(3):
        for number in range(MANY):
            compare(f"expert{number}", "expert1")
        with pytest.raises(DivergenceError, match="was compared"):
            compare(f"expert{dist.get_rank()}", "expert1")


def test_one_name_of_many_differs() -> None:
    num_found = 0
    with polyrank.lockstep(3), pytest.raises(DivergenceError, match="was compared"):
        for name in [*(f"layer{i}" for i in range(MANY)), f"expert{dist.get_rank()}"]:
            if name == "expert0":
                num_found += 1
    assert num_found == 0


def test_what_is_compared_otherwise_is_as_ever() -> None:
    with polyrank.lockstep(3):
        for left, right in ((1, 1), (1.5, 1.5), ("a", "a"), (None, None), ([1], [1])):
            assert [is_equal(left, right) for _ in range(MANY)] == [True] * MANY
            assert [is_unequal(left, right) for _ in range(MANY)] == [False] * MANY
        assert sum(number < 10 for number in range(MANY)) == 10
        is_first = is_equal(dist.get_rank(), 0)
        assert [number_on_rank(is_first, rank) for rank in range(3)] == [True, False, False]


# The first mode of a process meets code that has started already.
PROGRAM = """
import os.path
import pathlib
import polyrank
import torch.distributed as dist

def compares(names):
    found = yield
    while True:
        try:
            found = yield [name for name in names if name == found]
        except KeyError as error:
            found = error.args[0]

PLAIN = [f"expert{i}" for i in range(100)]

def suspended():
    running = compares(PLAIN)
    next(running)
    for name in PLAIN:
        running.send(name)
    return running

sent, thrown_at = suspended(), suspended()

def refused(what, call):
    try:
        print(what, call())
    except polyrank.DivergenceError:
        print(what, "refused")

def of_a_path(name):
    return pathlib.PurePath("a", name) == pathlib.PurePath("a", "expert0")

for name in PLAIN:
    of_a_path(name)
names = PLAIN[:]
for turn in range(2):
    for name in names:
        try:
            if name == "expert0":
                same = name
        except polyrank.DivergenceError:
            print("of the module refused")
    if turn == 0:
        mode = polyrank.lockstep(3)
        mode.__enter__()
        text = f"expert{dist.get_rank()}"
        names = [text]
refused("sent", lambda: sent.send(text))
refused("thrown at", lambda: thrown_at.throw(KeyError(text)))
refused("of a path", lambda: of_a_path(text))
refused("of new code", lambda: eval("[name for name in names if name == text]", {"names": PLAIN, "text": text}))
mode.__exit__(None, None, None)
"""


def run(program: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, cwd=folder
    )


@pytest.mark.parametrize("before", ["", "        __import__('gc').freeze()\n"])
def test_code_that_runs_already_asks(before: str) -> None:
    done = run(PROGRAM.replace("        mode = polyrank", f"{before}        mode = polyrank"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{what} refused"
        for what in ("of the module", "sent", "thrown at", "of a path", "of new code")
    ]


# Code that comes to be in the mode, each in another way. It has compared much before it meets what differs.
NEW_CODE = """
import importlib
import marshal
import sys
import types
import polyrank
import torch.distributed as dist

SOURCE = '''
def find(names, wanted):
    count = 0
    for name in names:
        if name == wanted:
            count += 1
    return count
'''
open("compiled_here.py", "w").write(SOURCE)
sys.path.insert(0, ".")

def executed(source):
    names = {}
    exec(source, names)
    return names["find"]

def imported():
    module = importlib.import_module("compiled_here")
    del sys.modules["compiled_here"]
    return module.find

def reconstructed(code):
    return types.CodeType(
        *(code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_nlocals),
        *(code.co_stacksize, code.co_flags, code.co_code, code.co_consts, code.co_names),
        *(code.co_varnames, code.co_filename, code.co_name, code.co_qualname, code.co_firstlineno),
        *(code.co_linetable, code.co_exceptiontable, code.co_freevars, code.co_cellvars),
    )

def as_function(code):
    return types.FunctionType(code, {})

old = executed(SOURCE).__code__
stored = marshal.dumps(compile(SOURCE, "stored", "exec"))
with polyrank.lockstep(3):
    functions = {
        "exec": executed(SOURCE),
        "exec of bytes": executed(SOURCE.encode()),
        "compile": executed(compile(SOURCE, "", "exec")),
        "marshal": executed(marshal.loads(stored)),
        "import": imported(),
        "import of what is compiled": imported(),
        "eval": eval(" lambda names, wanted: [name for name in names if (1 if name == wanted else 0)]"),
        "replace": as_function(old.replace(co_name="other")),
        "CodeType": as_function(reconstructed(old)),
    }
    plain = [f"layer{i}" for i in range(1000)]
    for what, find in functions.items():
        for _ in range(20):
            find(plain, "expert0")
        try:
            print(what, find([f"expert{dist.get_rank()}"], "expert0"))
        except polyrank.DivergenceError:
            print(what, "refused")
# As CPython does it: errors, names, future statements.
try:
    exec("if")
except SyntaxError as error:
    print(error.filename, error.lineno)
there = 3
exec("there += 1")
print(there, eval("there + 1"), eval("[there for _ in range(2)]", {"there": 7}))
"""


def test_code_that_comes_to_be_in_the_mode_asks(tmp_path: Path) -> None:
    done = run(NEW_CODE, tmp_path)
    assert done.returncode == 0, done.stderr
    ways = ("exec", "exec of bytes", "compile", "marshal", "import", "import of what is compiled")
    assert done.stdout.splitlines() == [
        *(f"{way} refused" for way in (*ways, "eval", "replace", "CodeType")),
        "<string> 1",
        "4 5 [7, 7]",
    ]


@HAS_TOOLS
def test_without_a_place_for_our_tool_lockstep_is_refused() -> None:
    done = run(
        "import sys, polyrank\n"
        "for tool in (3, 4): sys.monitoring.use_tool_id(tool, f'tool {tool}')\n"
        "try:\n    polyrank.lockstep(2).__enter__()\n"
        "except polyrank.UsageError as error: print(error)\n"
    )
    assert "whose places 3 and 4 are taken, by tool 4 and tool 3" in done.stdout, done.stderr


@HAS_TOOLS
def test_another_tool_of_the_program_is_left_alone() -> None:
    done = run(
        "import sys, polyrank\n"
        "sys.monitoring.use_tool_id(4, 'mine')\n"
        "with polyrank.lockstep(2): pass\n"
        "print([sys.monitoring.get_tool(tool) for tool in (3, 4)])\n"
    )
    assert done.stdout == "['polyrank', 'mine']\n", done.stderr
