"""Fails if two types, or two inline functions, of the C++ sources have one full name.

C++ has one definition for each name of a program. Where two sources define one, neither compiler nor
linker says a word: one source frees with the other's destructor.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

# clang-format keeps both forms.
OPENS = re.compile(r"^(?:inline )?namespace ?([\w:]*) ?\{$")
CLOSES = re.compile(r"^\}  // namespace")
# At a line's start: members have an indent. Specializations (`Name<…>`) are of their template.
TYPE = re.compile(
    r"^(?:struct|class|union|enum(?: class| struct)?) (?:alignas\(\w+\) )?(?:POLYRANK_API )?"
    r"(\w+(?:::\w+)*)(?: final)?(?: :[^;]*)? ?\{"
)
INLINE = re.compile(r"^(?:inline|constexpr) [^={;]*?([\w:]+\([^{;]*)\{")

REMEDY = "rename one, or put it into a namespace without a name"


def definitions(text: str) -> list[tuple[str, int]]:
    """Returns the full names, and lines, of what a source defines for the whole program."""
    found = []
    namespaces: list[str] = []
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if opened := OPENS.match(line):
            namespaces.append(opened[1])
        elif CLOSES.match(line):
            namespaces.pop()
        elif "" not in namespaces:  # a namespace without a name is the source's own
            # A declaration of several lines as one.
            whole = " ".join([line, *(part.strip() for part in lines[number : number + 5])])
            if defined := TYPE.match(whole) or INLINE.match(whole):
                found.append(("::".join([*namespaces, defined[1].strip()]), number))
    return found


def problems(root: Path) -> list[str]:
    """Returns one sentence for each name that is defined twice in what is linked together."""
    places: dict[str, list[str]] = defaultdict(list)
    sources = root / "cpp" / "polyrank"
    for file in sorted([*sources.rglob("*.h"), *sources.rglob("*.cc")]):
        for name, line in definitions(file.read_text()):
            places[name].append(f"{file.relative_to(root)}:{line}")
    return [
        f"{name} is defined at {' and at '.join(at)}: {REMEDY}"
        for name, at in places.items()
        if len(at) > 1
    ]


if __name__ == "__main__":
    found = problems(Path(__file__).parents[1])
    print("\n".join(found), file=sys.stderr)
    sys.exit(bool(found))
