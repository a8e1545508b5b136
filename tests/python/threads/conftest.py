"""Lets these tests use the programs that run in gloo processes too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
