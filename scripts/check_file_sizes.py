"""Fails if a source file, a test or a script is too long to be read in one go."""

import sys
from pathlib import Path

MOST_LINES = 450
FOLDERS = ("benchmarks", "cmake", "cpp", "examples", "python", "scripts", "tests")
SUFFIXES = {".cc", ".cmake", ".h", ".py", ".pyi", ".sh"}


def problems(root: Path, most_lines: int) -> list[str]:
    """Returns one sentence for each file of more than `most_lines` lines."""
    found = []
    for folder in FOLDERS:
        for file in sorted((root / folder).rglob("*")):
            if file.suffix in SUFFIXES and file.is_file():
                num_lines = len(file.read_text().splitlines())
                if num_lines > most_lines:
                    name = file.relative_to(root)
                    found.append(f"{name}: {num_lines} lines; split it (at most {most_lines})")
    return found


if __name__ == "__main__":
    found = problems(Path(__file__).parent.parent, MOST_LINES)
    print("\n".join(found), end="\n" if found else "")
    sys.exit(bool(found))
