"""OpInfo's samples without a look through the stack.

For each operator's samples PyTorch looks for the unittest that runs, by `inspect.stack()`, which takes a
tenth of a second under pytest. There is none here.
"""

from __future__ import annotations

from torch.testing._internal import common_utils
from torch.testing._internal.opinfo import core


def _no_test_function() -> None:
    return None


for module in (common_utils, core):
    assert module.extract_test_fn() is None
    module.extract_test_fn = _no_test_function
