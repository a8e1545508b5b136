"""Prints the seconds that importing polyrank takes after torch."""

import time

import torch  # noqa: F401

start = time.perf_counter()
import polyrank  # noqa: E402, F401

print(time.perf_counter() - start)
