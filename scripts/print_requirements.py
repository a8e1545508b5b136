"""Prints, one a line, what a checkout needs from Python's package index, as pyproject.toml names it.

Takes the names of the extras; without one, all of them. torch comes out as the exact release that
polyrank is developed against.
"""

import re
import sys
import tomllib
from pathlib import Path

TORCH = "torch==2.13.0"


def requirements(project: dict, extras: list[str]) -> list[str]:
    """Returns `project`'s dependencies and those of `extras`, each once, in order."""
    found = [TORCH]
    queue = [*project["dependencies"]]
    for extra in extras or project["optional-dependencies"]:
        queue += project["optional-dependencies"][extra]
    for requirement in queue:
        name = re.match(r"[\w.-]+", requirement)[0]
        if name not in ("torch", project["name"]) and requirement not in found:
            found.append(requirement)
    return found


if __name__ == "__main__":
    pyproject = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    print("\n".join(requirements(pyproject["project"], sys.argv[1:])))
