"""Which programs the launcher of processes gets warm for."""

from __future__ import annotations

import pytest
from polyrank.process_ranks.warm import needs_warmth

HEAD = "import os, sys\nimport torch, torch.distributed as dist\n"


@pytest.mark.parametrize(
    "program",
    [
        "dist.init_process_group()\nx = torch.ones(2)\ndist.all_reduce(x)\nprint(x)",
        "from datetime import timedelta\nimport numpy as np\nprint(np.ones(2))",
        "def main():\n    import json, polyrank\n    print(json.dumps({}))\nmain()",
    ],
)
def test_tensors_and_collectives_are_run_from_a_cold_launcher(program: str) -> None:
    assert not needs_warmth(compile(HEAD + program, "s.py", "exec"))


@pytest.mark.parametrize(
    "program",
    [
        "model = torch.nn.Linear(2, 2)",
        "from torch import nn",
        "def main():\n    from torch.distributed.tensor import DTensor",
        "import transformers",
        "import beside_the_script",
        "from . import beside",
        "x = torch.ones(1, requires_grad=True)\nx.backward()",
        "class A:\n    f = lambda x: torch.compile(x)",
        "exec(sys.argv[1])",
        "__import__('transformers')",
    ],
)
def test_what_may_train_has_a_warm_one(program: str) -> None:
    assert needs_warmth(compile(HEAD + program, "s.py", "exec"))
