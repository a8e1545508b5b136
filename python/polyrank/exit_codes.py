"""What commands exit with, where it is not what the program itself asked for.

Programs take small numbers for codes of their own, shells those from 124 on: ours are in between.
"""

from __future__ import annotations

RAISED = 1  # as Python's
USAGE = 2  # as the arguments of most programs
DIVERGENCE = 113  # ranks disagree, or a check found what it looks for
COLLECTIVE = 114
UNSUPPORTED = 115
NO_REPORT = 116  # the program ended well, and its report could not be written
DOES_NOT_FIT = 117  # a forecast says so
