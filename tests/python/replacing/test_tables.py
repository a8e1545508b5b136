"""Tables that wait for a module."""

from __future__ import annotations

import subprocess
import sys

ASKED_WHILE_ON = """
import polyrank
from polyrank.replacing import layers
polyrank.install()
rows = layers.INSTALL.rows
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import state_dict_saver
print(any(row.module == "torch.distributed.checkpoint.state_dict_saver" for row in rows))
"""


def test_rows_can_be_asked_for_before_what_they_wait_for() -> None:
    """Their module imports torch's, after which they are placed: by then it must be whole."""
    run = subprocess.run(
        [sys.executable, "-c", ASKED_WHILE_ON], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "True\n"
