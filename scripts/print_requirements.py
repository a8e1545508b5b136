"""Prints, one a line, what a checkout needs from Python's package index, as pyproject.toml names it.

Takes the release of torch to develop against, then the names of the extras; without one, all of them.
"""

import re
import sys
import tomllib
from pathlib import Path


def requirements(project: dict, torch: str, extras: list[str]) -> list[str]:
    """Returns `project`'s dependencies and those of `extras`, each once, in order."""
    found = [f"torch=={torch}"]
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
    print("\n".join(requirements(pyproject["project"], sys.argv[1], sys.argv[2:])))
