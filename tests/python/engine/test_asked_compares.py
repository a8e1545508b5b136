"""Text that differs between ranks is compared with other text where much other text was compared before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import polyrank
import pytest
import torch.distributed as dist
from polyrank import DivergenceError
from polyrank.numbers.rank_dependent_numbers import number_on_rank

pytestmark = pytest.mark.skipif(
    not hasattr(sys, "monitoring"), reason="this Python compares by itself (docs/errors.md)"
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
            found = yield [name == found for name in names]
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
            same = name == "expert0"
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
refused("of new code", lambda: eval("[name == text for name in names]", {"names": PLAIN, "text": text}))
mode.__exit__(None, None, None)
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )


def test_code_that_runs_already_asks() -> None:
    done = run(PROGRAM)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{what} refused"
        for what in ("of the module", "sent", "thrown at", "of a path", "of new code")
    ]


def test_without_a_place_for_our_tool_lockstep_is_refused() -> None:
    done = run(
        "import sys, polyrank\n"
        "for tool in (3, 4): sys.monitoring.use_tool_id(tool, f'tool {tool}')\n"
        "try:\n    polyrank.lockstep(2).__enter__()\n"
        "except polyrank.UsageError as error: print(error)\n"
    )
    assert "whose places 3 and 4 are taken, by tool 4 and tool 3" in done.stdout, done.stderr


def test_another_tool_of_the_program_is_left_alone() -> None:
    done = run(
        "import sys, polyrank\n"
        "sys.monitoring.use_tool_id(4, 'mine')\n"
        "with polyrank.lockstep(2): pass\n"
        "print([sys.monitoring.get_tool(tool) for tool in (3, 4)])\n"
    )
    assert done.stdout == "['polyrank', 'mine']\n", done.stderr
