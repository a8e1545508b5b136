#!/usr/bin/env python3
"""Writes docs/torch_surface.md and replacing/known_parameters.py from the rows and the installed torch.

With --check: says whether they are up to date.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import torch
from polyrank.replacing.layers import ALL
from polyrank.replacing.place import place_of
from polyrank.replacing.row import Row
from polyrank.replacing.surface import parameters_of

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "python" / "polyrank"
PARAMETERS = PACKAGE / "replacing" / "known_parameters.py"
PAGE = ROOT / "docs" / "torch_surface.md"


def is_private(name: str) -> bool:
    """Whether a dotted name has a part that torch calls its own."""
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))


def names_used() -> dict[str, set[str]]:
    """The private names of torch that our Python names, and in which files."""
    used: dict[str, set[str]] = defaultdict(set)
    for file in sorted(PACKAGE.rglob("*.py")):
        for name in names_of_torch_in(ast.parse(file.read_text())):
            if is_private(name):
                used[name].add(file.relative_to(PACKAGE).as_posix())
    return used


def names_of_torch_in(tree: ast.Module) -> set[str]:
    """What a file imports of torch, and the attributes of it that it names."""
    meaning: dict[str, str] = {}  # of names in the file
    for node in ast.walk(tree):
        meaning |= imported_by(node)
    used = set(meaning.values())
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            value = node.value and dotted_name(node.value)
            if value in meaning:  # `c10d: Any = distributed_c10d`
                meaning[node.target.id] = meaning[value]
    for node in ast.walk(tree):
        dotted = dotted_name(node) if isinstance(node, ast.Attribute) else None
        first, _, rest = (dotted or "").partition(".")
        if first in meaning:
            used.add(f"{meaning[first]}.{rest}")
    return used


def imported_by(node: ast.AST) -> dict[str, str]:
    """What names mean that a statement imports of torch."""
    if isinstance(node, ast.Import):
        own = [alias for alias in node.names if alias.name.partition(".")[0] == "torch"]
        return {alias.asname or "torch": alias.name if alias.asname else "torch" for alias in own}
    if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "torch":
        return {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return {}


def dotted_name(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := dotted_name(node.value)) is not None:
        return f"{base}.{node.attr}"
    return None


def longest(names: dict[str, set[str]]) -> dict[str, set[str]]:
    """Without names that are the beginning of another one in the same file."""
    return {
        name: files
        for name, files in names.items()
        if files - {f for other, at in names.items() if other.startswith(f"{name}.") for f in at}
    }


def rows_page(rows: list[tuple[str, Row]]) -> tuple[str, str, set[str]]:
    """The page, the module of parameters, and the replaced names that are private."""
    parameters: dict[str, str] = {}
    table = []
    for world, row in rows:
        place = place_of(row)
        if place is None:
            raise SystemExit(f"the installed torch has no {row}")
        if not row.is_added:
            parameters[str(row)] = parameters_of(place.target.original)
        kind = "added" if row.is_added else type(place.target).__name__
        table.append(f"| `{row}` | {world} | {KINDS[kind]} | {row.why} |")
    lines = "".join(f"    {name!r}: {text!r},\n" for name, text in sorted(parameters.items()))
    return "\n".join(table), lines, {str(row) for _, row in rows if is_private(str(row))}


def main() -> int:
    """Write, or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    all_rows = [(world.name, row) for world in ALL for row in world.rows]
    rows = [(world, row) for world, row in all_rows if row.is_of_torch]
    others = sorted({row.owner.replace(":", ".") for _, row in all_rows if not row.is_of_torch})
    for _, row in rows:
        importlib.import_module(row.module)
    table, parameters, private = rows_page(rows)
    used = {name: files for name, files in longest(names_used()).items() if name not in private}
    version = torch.__version__.partition("+")[0]
    page = PAGE_TEXT.format(
        version=version,
        num_rows=len(rows),
        num_names=len({str(row) for _, row in rows}),
        num_private=len(private),
        rows=table,
        others=", ".join(f"`{owner}`" for owner in others),
        num_used=len(used),
        num_places=sum(map(len, used.values())),
        used="\n".join(
            f"| `{name}` | {', '.join(f'`{file}`' for file in sorted(files))} |"
            for name, files in sorted(used.items())
        ),
    )
    module = formatted(PARAMETERS_TEXT.format(version=version, lines=parameters))
    stale = [
        path
        for path, text in ((PAGE, page), (PARAMETERS, module))
        if not path.exists() or path.read_text() != text
    ]
    if check:
        for path in stale:
            sys.stderr.write(
                f"{path.relative_to(ROOT)} is stale: run scripts/{Path(__file__).name}\n"
            )
        return 1 if stale else 0
    PAGE.write_text(page)
    PARAMETERS.write_text(module)
    return 0


def formatted(source: str) -> str:
    """As ruff writes it, which stands beside this Python."""
    ruff = Path(sys.executable).parent / "ruff"
    return subprocess.run(
        [ruff, "format", "-", "--stdin-filename", PARAMETERS],
        input=source,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout


KINDS = {
    "PythonFunction": "Python code",
    "BuiltInFunction": "built-in code",
    "BoundMethod": "bound method",
    "Attribute": "attribute",
    "HeldObject": "object, by its holders",
    "added": "added",
}

PARAMETERS_TEXT = '''"""The parameters of what is replaced; written by scripts/write_torch_surface.py."""

KNOWN_TORCH = "{version}"

KNOWN_PARAMETERS: dict[str, str] = {{
{lines}}}
'''

PAGE_TEXT = """# What of torch polyrank stands on

For whoever moves to the next version of torch. Written by `scripts/write_torch_surface.py` from the
tables of `python/polyrank` and torch {version}; a test says when it is out of date. What the installed
torch lacks, or has with other parameters, is also told by name when a world is entered.

## Replaced while a world is on

{num_rows} rows about {num_names} names, {num_private} of them private. The column "how" says what is
exchanged: the code that the object runs, so that every holder is reached; the attribute; or the object
wherever it is held ([architecture.md](architecture.md#replacing-names-of-torch)).

| name | world | how | what would be wrong without |
|---|---|---|---|
{rows}

Outside of torch functions are replaced of {others}.

## Private names that are called or read

{num_used} names in {num_places} places, besides those above.

| name | files |
|---|---|
{used}
"""

if __name__ == "__main__":
    sys.exit(main())
