"""Fails if a C++ layer includes a header of a layer above it, or PyTorch where it must not.

The arrows are those of docs/architecture.md; CMakeLists.txt has the same order.
"""

import re
import sys
from pathlib import Path

# The layers that all of those with PyTorch may use.
BELOW_ENGINE = {"core", "collective", "shared_memory", "matching", "report"}
WITHOUT_TORCH = BELOW_ENGINE | {"allocator", "timeline"}
BELOW_WORLDS = BELOW_ENGINE | {"engine", "exchange", "world"}
WORLDS = {"world/lockstep", "world/threads", "world/processes", "world/fake"}
# Layer -> the layers whose headers it may include, besides its own.
USES: dict[str, set[str]] = {
    "core": set(),
    "collective": {"core"},
    "shared_memory": {"core"},
    "matching": {"core", "collective", "shared_memory"},
    "report": {"core", "collective", "matching"},
    "allocator": {"core"},
    "timeline": {"core", "collective", "report"},
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


if __name__ == "__main__":
    found = problems(Path(__file__).parent.parent)
    print("\n".join(found), end="\n" if found else "")
    sys.exit(bool(found))
