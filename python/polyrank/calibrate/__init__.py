"""Measures what a GPU does in a second, and writes it as a table for forecasts (forecast/speeds.py).

`probes.py` says what is timed, `timing.py` times it, `fit.py` finds the figures, `table_file.py` writes them.
"""

from __future__ import annotations
