"""Runs clang-tidy on the C++ files of a build folder, all of them or the changed ones.

The compile commands are the compiler's, less the precompiled headers, so that clang-tidy also sees
whether a file includes what it uses, and with leave to name g++'s own warnings.

A file takes half a minute, all of them more than an hour. So the build folder keeps which files passed,
each with a digest of what its result depends on, and a file that passed as it is now is not
checked again.
"""

import argparse
import functools
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUFFIXES = (".cc", ".h")
INCLUDE_FOLDERS = (ROOT / "cpp", ROOT / "tests")
# The rules, and the versions of clang-tidy and PyTorch.
SETTINGS = (ROOT / ".clang-tidy", ROOT / "pyproject.toml")
UNKNOWN_WARNINGS = ("--extra-arg=-Wno-unknown-warning-option",)


def git_lines(*arguments: str) -> list[str]:
    """Returns the lines that git prints; none if it fails, as outside a repository."""
    done = subprocess.run(  # git is on the PATH of whoever has a checkout.
        ["git", *arguments],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split("\n")[:-1] if done.returncode == 0 else []


def changed_files() -> set[Path]:
    """Returns the files that differ from where this branch left origin/main, new ones included."""
    base = git_lines("merge-base", "HEAD", "origin/main") or ["HEAD"]
    names = git_lines("diff", "--name-only", "--diff-filter=d", base[0])
    names += git_lines("ls-files", "--others", "--exclude-standard")
    return {ROOT / name for name in names if name.endswith(SUFFIXES)}


def for_clang(arguments: list[str]) -> Iterator[str]:
    """Drops the launcher before the compiler and the options that name precompiled headers."""
    start = next(i for i, word in enumerate(arguments) if "++" in Path(word).name)
    words = iter(arguments[start:])
    for word in words:
        if word == "-include":
            next(words)
        elif word != "-Winvalid-pch":
            yield word
    yield "-Wno-unknown-warning-option"


def commands_for_clang(build: Path) -> list[dict[str, object]]:
    """Returns the compile commands of the project's own files."""
    entries = json.loads((build / "compile_commands.json").read_text())
    return [
        {
            "directory": entry["directory"],
            "file": entry["file"],
            "arguments": list(for_clang(shlex.split(entry["command"]))),
        }
        for entry in entries
        if not Path(entry["file"]).is_relative_to(build)
    ]


def files_to_check(commands: list[dict[str, object]], changed: set[Path] | None) -> list[str]:
    """Returns the compiled files; with `changed`, those that are in it or whose header is."""
    files = sorted(str(command["file"]) for command in commands)
    if changed is None:
        return files
    stems = {path.with_suffix("") for path in changed}
    return [file for file in files if Path(file).with_suffix("") in stems]


@functools.cache
def included_files(file: Path) -> frozenset[Path]:
    """Returns the project's own headers that `file` names."""
    names = re.findall(r'^#include [<"](.+)[>"]', file.read_text(), re.MULTILINE)
    places = (
        (folder / name).resolve() for folder in (file.parent, *INCLUDE_FOLDERS) for name in names
    )
    return frozenset(place for place in places if place.is_file())


def files_read(file: Path) -> set[Path]:
    """Returns `file` and all of the project's headers that compiling it reads."""
    seen: set[Path] = set()
    waiting = {file}
    while waiting:
        seen |= waiting
        waiting = set().union(*map(included_files, waiting)) - seen
    return seen


def digest(command: dict[str, object]) -> str:
    """Returns a digest of everything that decides what clang-tidy says of a file."""
    result = hashlib.sha256(json.dumps(command, sort_keys=True).encode())
    for path in (*SETTINGS, *sorted(files_read(Path(str(command["file"]))))):
        result.update(hashlib.sha256(path.read_bytes()).digest())
    return result.hexdigest()


class PassedFiles:
    """The digests of the files that passed, kept in a text file of one line each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digests = set(path.read_text().split()) if path.exists() else set()

    def __contains__(self, file_digest: str) -> bool:
        return file_digest in self._digests

    def add(self, file_digest: str) -> None:
        """Keeps it at once: a run that is cut short has not worked for nothing."""
        with self._path.open("a") as file:
            file.write(file_digest + "\n")


def main() -> int:
    """Returns 0 if clang-tidy finds nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, required=True, help="folder with compile commands")
    parser.add_argument("--changed", action="store_true", help="only files changed on this branch")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("parts", nargs="*", help="only files whose path has one of these parts")
    options = parser.parse_args()

    commands = commands_for_clang(options.build.resolve())
    folder = options.build / "clang-tidy"
    folder.mkdir(exist_ok=True)
    (folder / "compile_commands.json").write_text(json.dumps(commands))
    files = files_to_check(commands, changed_files() if options.changed else None)
    files = [file for file in files if any(part in file for part in options.parts or ("",))]
    command_of = {str(command["file"]): command for command in commands}
    digests = {file: digest(command_of[file]) for file in files}
    passed_before = PassedFiles(folder / "passed.txt")
    unknown = [file for file in files if digests[file] not in passed_before]

    def tidy(file: str) -> bool:
        done = subprocess.run(
            # The compiler may know warnings that clang doesn't.
            ["clang-tidy", "--quiet", *UNKNOWN_WARNINGS, "-p", str(folder), file],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
        )
        # Its standard error only counts the warnings that it hid in other people's headers.
        errors = done.stderr if done.returncode != 0 and not done.stdout else ""
        print(
            f"clang-tidy {Path(file).relative_to(ROOT)}\n{done.stdout}{errors}", end="", flush=True
        )
        if done.returncode == 0:
            passed_before.add(digests[file])
        return done.returncode == 0

    with ThreadPoolExecutor(options.jobs) as pool:
        passed = list(pool.map(tidy, unknown))
    print(
        f"clang-tidy: {len(files)} files, {passed.count(False)} with findings,"
        f" {len(files) - len(unknown)} known to pass"
    )
    return int(not all(passed))


if __name__ == "__main__":
    sys.exit(main())
