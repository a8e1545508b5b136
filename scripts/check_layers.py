"""Fails if a layer of C++ or a room of Python uses one above it, or PyTorch where it must not.

The arrows are those of docs/architecture.md; CMakeLists.txt has the same order.
"""

import ast
import re
import sys
from pathlib import Path

# The layers that all of those with PyTorch may use.
BELOW_ENGINE = {"core", "group", "collective", "shared_memory", "matching", "report"}
WITHOUT_TORCH = BELOW_ENGINE | {"allocator", "timeline"}
BELOW_WORLDS = BELOW_ENGINE | {"engine", "exchange", "world"}
WORLDS = {"world/lockstep", "world/threads", "world/processes", "world/fake"}
# Layer -> the layers whose headers it may include, besides its own.
USES: dict[str, set[str]] = {
    "core": set(),
    "group": {"core"},
    "collective": {"core"},
    "shared_memory": {"core"},
    "matching": {"core", "collective", "shared_memory"},
    "report": {"core", "group", "collective", "matching"},
    "allocator": {"core"},
    "timeline": {"core", "group", "collective", "report"},
    "engine": BELOW_ENGINE,
    "exchange": BELOW_ENGINE | {"engine"},
    "world": BELOW_ENGINE | {"engine", "exchange"},
    **dict.fromkeys(WORLDS, BELOW_WORLDS),  # no world knows another one
    "api": BELOW_WORLDS | WORLDS,
    "dist2": BELOW_WORLDS | WORLDS | {"api"},
    "virtual_gpu": BELOW_WORLDS | {"allocator", "timeline"},
    "bindings": BELOW_WORLDS | WORLDS | {"api", "dist2", "virtual_gpu", "allocator", "timeline"},
}
# Only the bindings know Python; everything below them works in a C++ program without one.
WITH_PYTHON = {"bindings"}

# The rooms of python/polyrank, from the lowest: each may use those before it, and the package's own files.
# What `replacing.layers`, `world` and `cli.app` load by its name is no arrow.
ROOMS = (
    "replacing",
    "output",
    "recording",
    "numbers",
    "rank_text",
    "tensor",
    "any_world",
    "fake",
    "virtual_gpu",
    "lockstep_world",
    "process_ranks",
    "rank_threads",
    "install",
    "worlds",
    "forecast",
    "calibrate",
    "run_report",
    "divergence",
    "doctor",
    "fork_server",
    "cli",
)
# Arrows that go up, each with its reason.
UPWARD = {
    ("fork_server.takeover", "cli.app"): "what a server's child runs is the command line",
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def problem(layer: str, quote: str, header: str) -> str | None:
    """Says what is wrong with an include of `header` in `layer`, if anything is."""
    if quote == '"':
        return "write the path from the include root, in <>"
    if header.startswith("polyrank/"):
        other = header.removeprefix("polyrank/").rpartition("/")[0]
        if other != layer and other not in USES[layer]:
            return f"{layer} may not use {other}"
    elif re.match(r"(ATen|c10|torch)/", header) and layer in WITHOUT_TORCH:
        return f"{layer} does without PyTorch"
    elif (
        re.match(r"(Python\.h|pybind11/|torch/csrc/utils/py)", header) and layer not in WITH_PYTHON
    ):
        return f"{layer} does without Python"
    return None


def problems(root: Path) -> list[str]:
    """Returns one sentence for each include that breaks the rule."""
    found = []
    sources = root / "cpp" / "polyrank"
    for file in sorted([*sources.glob("*/**/*.h"), *sources.glob("*/**/*.cc")]):
        layer = file.parent.relative_to(sources).as_posix()
        if layer not in USES:
            found.append(f"{file.relative_to(root)}: no such layer: {layer}")
            continue
        for quote, header in INCLUDE.findall(file.read_text()):
            if (why := problem(layer, quote, header)) is not None:
                found.append(f"{file.relative_to(root)}: includes {header}: {why}")
    return found


def imported_modules(source: str) -> set[str]:
    """The modules of polyrank that Python code imports anywhere in it, except for types alone."""
    tree = ast.parse(source)
    for_types = {
        id(node)
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and ast.unparse(test.test) == "TYPE_CHECKING"
        for node in ast.walk(test)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name.removeprefix("polyrank.") for name in found if name.startswith("polyrank.")}


def room_problems(root: Path) -> list[str]:
    """Returns one sentence for each import of Python that breaks the rule."""
    found = []
    package = root / "python" / "polyrank"
    order = {room: place for place, room in enumerate(ROOMS)}
    for file in sorted(package.glob("*/**/*.py")):
        module = ".".join(file.relative_to(package).with_suffix("").parts)
        room = module.partition(".")[0]
        if room not in order:
            found.append(f"{file.relative_to(root)}: no such room: {room}")
            continue
        for other in sorted(imported_modules(file.read_text())):
            above = order.get(other.partition(".")[0], -1) > order[room]
            is_known = any((module, other[: len(to)]) == (at, to) for at, to in UPWARD)
            if above and not is_known:
                found.append(f"{file.relative_to(root)}: {room} may not use {other}")
    return found


if __name__ == "__main__":
    root = Path(__file__).parent.parent
    found = problems(root) + room_problems(root)
    print("\n".join(found), end="\n" if found else "")
    sys.exit(bool(found))
