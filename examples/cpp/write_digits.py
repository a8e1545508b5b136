"""Writes scikit-learn's digits for train_digits.cc: per sample 64 pixels of 0..16 and the label.

python examples/cpp/write_digits.py digits.bin
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

digits = load_digits()
samples = np.column_stack([digits.data, digits.target]).astype(np.uint8)
Path(sys.argv[1]).write_bytes(samples.tobytes())
