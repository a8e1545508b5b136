"""Fails if a C++ source file has no test file of its own, or a test file no source.

The twin of cpp/polyrank/LAYER/x.cc is tests/LAYER/x_test.cc. The bindings are tested from Python.
A header without a source file may have a test.
"""

import sys
from pathlib import Path

# Sources tested elsewhere, each with where and why. The list should shrink.
TESTED_ELSEWHERE: dict[str, str] = {}


def problems(root: Path, tested_elsewhere: dict[str, str]) -> list[str]:
    """Returns one sentence for each file that breaks the rule."""
    found = []
    sources = root / "cpp" / "polyrank"
    for source in sorted(sources.glob("*/**/*.cc")):
        name = source.relative_to(sources).with_suffix("").as_posix()
        if name.startswith("bindings/"):
            continue
        has_twin = (root / "tests" / f"{name}_test.cc").exists()
        if has_twin and name in tested_elsewhere:
            found.append(f"tests/{name}_test.cc exists: take {name} off TESTED_ELSEWHERE")
        if not has_twin and name not in tested_elsewhere:
            found.append(f"cpp/polyrank/{name}.cc has no tests/{name}_test.cc")
    for test in sorted((root / "tests").glob("*/**/*_test.cc")):
        name = test.relative_to(root / "tests").as_posix().removesuffix("_test.cc")
        if name.startswith("issues/"):
            continue
        if not any((sources / f"{name}{suffix}").exists() for suffix in (".cc", ".h")):
            found.append(f"tests/{name}_test.cc tests no cpp/polyrank/{name}.cc or .h")
    found += [
        f"TESTED_ELSEWHERE names {name}, which does not exist"
        for name in tested_elsewhere
        if not (sources / f"{name}.cc").exists()
    ]
    return found


if __name__ == "__main__":
    found = problems(Path(__file__).parent.parent, TESTED_ELSEWHERE)
    print("\n".join(found), end="\n" if found else "")
    sys.exit(bool(found))
