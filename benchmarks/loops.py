"""The C++ programs that loop over plain tensors: the floor that lockstep is compared with."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from timing import Effort


def run_loops(program: Path, effort: Effort, *numbers: int) -> list[dict[str, Any]]:
    """What the program prints, an object a line."""
    arguments = [effort.num_rounds, int(effort.seconds_per_case * 1000), *numbers]
    result = subprocess.run(
        [str(program), *(str(n) for n in arguments)], capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in result.stdout.splitlines()]
