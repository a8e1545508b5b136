"""The scripts behind `make lint`, each on a small tree that breaks its rule."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import check_file_sizes
import check_layers
import check_one_definition
import check_test_twins
import print_requirements
import run_clang_tidy


def write(root: Path, name: str, text: str = "") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def test_a_source_without_a_test_is_named(tmp_path: Path) -> None:
    write(tmp_path, "cpp/polyrank/core/tested.cc")
    write(tmp_path, "tests/core/tested_test.cc")
    write(tmp_path, "cpp/polyrank/core/untested.cc")
    write(tmp_path, "cpp/polyrank/bindings/module.cc")
    assert check_test_twins.problems(tmp_path, {}) == [
        "cpp/polyrank/core/untested.cc has no tests/core/untested_test.cc"
    ]
    assert check_test_twins.problems(tmp_path, {"core/untested": "why"}) == []


def test_a_test_of_nothing_is_named_but_a_header_may_have_one(tmp_path: Path) -> None:
    write(tmp_path, "cpp/polyrank/core/table.h")
    write(tmp_path, "tests/core/table_test.cc")
    write(tmp_path, "tests/core/gone_test.cc")
    assert check_test_twins.problems(tmp_path, {}) == [
        "tests/core/gone_test.cc tests no cpp/polyrank/core/gone.cc or .h"
    ]


def test_the_list_of_exceptions_can_only_shrink(tmp_path: Path) -> None:
    write(tmp_path, "cpp/polyrank/core/tested.cc")
    write(tmp_path, "tests/core/tested_test.cc")
    assert check_test_twins.problems(tmp_path, {"core/tested": "old", "core/gone": "older"}) == [
        "tests/core/tested_test.cc exists: take core/tested off TESTED_ELSEWHERE",
        "TESTED_ELSEWHERE names core/gone, which does not exist",
    ]


@pytest.mark.parametrize(
    ("layer", "include", "why"),
    [
        ("core", "<polyrank/engine/kernel.h>", "core may not use engine"),
        ("report", "<ATen/Tensor.h>", "report does without PyTorch"),
        ("engine", "<pybind11/pybind11.h>", "engine does without Python"),
        ("engine", '"kernel.h"', "write the path from the include root, in <>"),
        ("world", "<polyrank/engine/kernel.h>", None),
        ("world/fake", "<polyrank/world/rank_thread.h>", None),
        (
            "world/lockstep",
            "<polyrank/world/threads/rank_store.h>",
            "world/lockstep may not use world/threads",
        ),
        ("engine", "<ATen/Tensor.h>", None),
        ("core", "<vector>", None),
    ],
)
def test_includes_point_down_only(
    tmp_path: Path, layer: str, include: str, why: str | None
) -> None:
    write(tmp_path, f"cpp/polyrank/{layer}/file.cc", f"#include {include}\n")
    expected = (
        [] if why is None else [f"cpp/polyrank/{layer}/file.cc: includes {include[1:-1]}: {why}"]
    )
    assert check_layers.problems(tmp_path) == expected


@pytest.mark.parametrize(
    ("module", "code", "why"),
    [
        ("tensor/x", "from polyrank.worlds.device import y", ["worlds.device", "worlds.device.y"]),
        ("fake/x", "def f():\n    import polyrank.cli.app", ["cli.app"]),
        ("fake/part/x", "from polyrank import worlds", ["worlds"]),
        ("worlds/x", "from polyrank.tensor.per_rank import PerRank", None),
        ("fake/x", "if TYPE_CHECKING:\n    import polyrank.cli.app", None),
        ("tensor/x", "from polyrank.errors import Error", None),
    ],
)
def test_imports_point_down_only(
    tmp_path: Path, module: str, code: str, why: list[str] | None
) -> None:
    write(tmp_path, f"python/polyrank/{module}.py", code + "\n")
    room = module.partition("/")[0]
    assert check_layers.room_problems(tmp_path) == [
        f"python/polyrank/{module}.py: {room} may not use {other}" for other in why or ()
    ]


def test_a_name_with_two_definitions_is_told(tmp_path: Path) -> None:
    own = "namespace polyrank {\n\nnamespace {\n\nstruct Kept {\n};\n\n}  // namespace\n"
    meeting = "\nstruct Meeting {\n  int x;\n};\n\ninline int of(\n    int x) {\n  return x;\n}\n"
    end = "\n}  // namespace polyrank\n"
    write(tmp_path, "cpp/polyrank/core/first.h", own + meeting + end)
    write(tmp_path, "cpp/polyrank/core/second.cc", own + meeting + "struct Layout;\n" + end)
    write(tmp_path, "cpp/polyrank/core/third.h", "namespace other {\n" + meeting + end)
    remedy = "rename one, or put it into a namespace without a name"
    first, second = "cpp/polyrank/core/first.h", "cpp/polyrank/core/second.cc"
    assert check_one_definition.problems(tmp_path) == [
        f"polyrank::Meeting is defined at {first}:10 and at {second}:10: {remedy}",
        f"polyrank::of( int x) is defined at {first}:14 and at {second}:14: {remedy}",
    ]


def test_a_long_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, "python/polyrank/long.py", "x = 1\n" * 11)
    write(tmp_path, "python/polyrank/short.py", "x = 1\n" * 10)
    assert check_file_sizes.problems(tmp_path, 10) == [
        "python/polyrank/long.py: 11 lines; split it (at most 10)"
    ]


def test_requirements_come_once_and_name_the_torch_that_is_asked_for() -> None:
    project = {
        "name": "polyrank",
        "dependencies": ["torch>=2.13", "rich>=13"],
        "optional-dependencies": {
            "test": ["pytest", "polyrank[lint]"],
            "lint": ["ruff", "rich>=13"],
        },
    }
    assert print_requirements.requirements(project, "2.14.1", ["test"]) == [
        "torch==2.14.1",
        "rich>=13",
        "pytest",
    ]
    assert print_requirements.requirements(project, "2.14.1", [])[-1] == "ruff"


def test_clang_tidy_compiles_without_launcher_and_precompiled_headers() -> None:
    command = "env A=1 ccache /usr/bin/c++ -O2 -Winvalid-pch -include x/cmake_pch.hxx -c a.cc"
    assert list(run_clang_tidy.for_clang(command.split())) == [
        "/usr/bin/c++",
        "-O2",
        "-c",
        "a.cc",
        "-Wno-unknown-warning-option",
    ]
