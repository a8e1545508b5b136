#!/usr/bin/env python3
"""Writes docs/torch_surface.md and replacing/known_parameters.py from the rows and the installed torch.

The page is of the oldest torch that is supported. The parameters are those that a name has in any of
them: run the script with each. With --check: says whether they are up to date.
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
from polyrank.replacing.known_parameters import KNOWN_PARAMETERS, KNOWN_TORCHES
from polyrank.replacing.layers import ALL, VIRTUAL_GPU
from polyrank.replacing.place import place_of
from polyrank.replacing.row import Row
from polyrank.replacing.surface import known_parameters, parameters_of

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
    parameters: dict[str, str | tuple[str, ...]] = {}
    if torch.backends.cuda.is_built():  # which has no virtual GPUs: their rows are as they were
        parameters.update(KNOWN_PARAMETERS)
    table = []
    for world, row in rows:
        place = place_of(row)
        if place is None and not row.is_optional:
            raise SystemExit(f"the installed torch has no {row}")
        if not row.is_added:
            present = (parameters_of(place.target.original),) if place is not None else ()
            all_known = tuple(dict.fromkeys((*known_parameters(row), *present)))
            parameters[str(row)] = all_known[0] if len(all_known) == 1 else all_known
        kind = "added" if row.is_added else type(place.target).__name__ if place else "newer"
        table.append(f"| `{row}` | {world} | {KINDS[kind]} | {row.why} |")
    lines = "".join(f"    {name!r}: {texts!r},\n" for name, texts in sorted(parameters.items()))
    return "\n".join(table), lines, {str(row) for _, row in rows if is_private(str(row))}


def by_world(rows: list[tuple[str, Row]]) -> str:
    """How many names are replaced in each world, and how many of them are private."""
    names: dict[str, set[str]] = defaultdict(set)
    for world, row in rows:
        names[world].add(str(row))
    ordered = sorted(names.items(), key=lambda item: -len(item[1]))
    return "\n".join(
        f"| {world} | {len(of_world)} | {sum(map(is_private, of_world))} |"
        for world, of_world in ordered
    )


def main() -> int:
    """Write, or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    worlds = [w for w in ALL if w is not VIRTUAL_GPU or not torch.backends.cuda.is_built()]
    all_rows = [(world.name, row) for world in worlds for row in world.rows]
    rows = [(world, row) for world, row in all_rows if row.is_of_torch]
    others = sorted({row.owner.replace(":", ".") for _, row in all_rows if not row.is_of_torch})
    for _, row in rows:
        importlib.import_module(row.module)
    table, parameters, private = rows_page(rows)
    used = {name: files for name, files in longest(names_used()).items() if name not in private}
    version = torch.__version__.partition("+")[0]
    versions = sorted({*KNOWN_TORCHES, version}, key=lambda known: [*map(int, known.split("."))])
    page = PAGE_TEXT.format(
        version=version,
        num_rows=len(rows),
        num_names=len({str(row) for _, row in rows}),
        num_private=len(private),
        worlds=by_world(rows),
        rows=table,
        others=", ".join(f"`{owner}`" for owner in others),
        num_used=len(used),
        num_places=sum(map(len, used.values())),
        used="\n".join(
            f"| `{name}` | {', '.join(f'`{file}`' for file in sorted(files))} |"
            for name, files in sorted(used.items())
        ),
    )
    module = formatted(PARAMETERS_TEXT.format(versions=tuple(versions), lines=parameters))
    texts = {PARAMETERS: module} | ({PAGE: page} if version == versions[0] else {})
    stale = [path for path, text in texts.items() if path.read_text() != text]
    if check:
        for path in stale:
            sys.stderr.write(
                f"{path.relative_to(ROOT)} is stale: run scripts/{Path(__file__).name}\n"
            )
        return 1 if stale else 0
    for path, text in texts.items():
        path.write_text(text)
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
    "newer": "where torch has it",
}

PARAMETERS_TEXT = '''"""The parameters of what is replaced; written by scripts/write_torch_surface.py."""

KNOWN_TORCHES = {versions}

KNOWN_PARAMETERS: dict[str, str | tuple[str, ...]] = {{
{lines}}}
'''

PAGE_TEXT = """# What of torch polyrank stands on

For whoever moves to the next version of torch. Written by `scripts/write_torch_surface.py` from the
tables of `python/polyrank` and torch {version}; a test says when it is out of date. What the installed
torch lacks, or has with other parameters, is also told by name when a world is entered.

## Replaced while a world is on

{num_rows} rows about {num_names} names, {num_private} of them private. The column "how" says what is
exchanged: the code that the object runs, so that every holder is reached; the attribute; or the object
wherever it is held ([internals.md](internals.md#replacing-names-of-torch)).

| world | names | of them private |
|---|---|---|
{worlds}

`install()` puts polyrank in the place of PyTorch's simulator, whose names these are. Most private names of virtual GPUs
are those of `torch._C` that a torch without CUDA lacks.

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
