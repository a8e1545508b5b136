"""What stands around the Python snippets of docs/, which show the lines that matter alone.

By page and the beginning of a snippet. `SNIPPET` is where it goes, as deep as that word; no entry: it runs as it is.
"""

IMPORTS = """\
import polyrank
import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.utils._debug_mode import DebugMode
from torch.utils._python_dispatch import TorchDispatchMode
"""

_TRAIN = """\
model = torch.nn.Linear(4, 4)
def train():
    model(torch.ones(2, 4)).sum().backward()
    dist.all_reduce(model.weight.grad)
    torch.optim.SGD(model.parameters(), 0.1).step()
"""

AROUND = {
    ("README", "print(polyrank.run_ranks"): """\
def function():
    return dist.get_rank()
SNIPPET
""",
    ("collectives", "rank, n = "): """\
with polyrank.lockstep(4):
    x, y = torch.ones(2) * dist.get_rank(), torch.zeros(2)
    SNIPPET
    assert y.on_rank(0).tolist() == [3, 3]
""",
    ("collectives", "def stage"): """\
world_size, num_stages, last, ranks_per_stage = 4, 2, 1, 2
ranks_of = [frozenset({0, 1}), frozenset({2, 3})]
layers = [torch.nn.Linear(3, 3, bias=False).requires_grad_(False) for _ in range(2)]
from polyrank.lockstep_world.lockstep import init_lockstep_group
from polyrank.lockstep_world.groups.process_groups import known_process_groups
with known_process_groups():
    init_lockstep_group(world_size)
    x = torch.ones(1, 3)
    SNIPPET
    dist.destroy_process_group()
""",
    ("collectives", "polyrank.PerRank"): """\
with polyrank.lockstep(2):
    out, loss = [None] * 2, torch.ones(()) * dist.get_rank()
    SNIPPET
    assert [one["rank"] for one in out] == [0, 1]
""",
    ("collectives", "with polyrank.reduction_order"): """\
with polyrank.lockstep(16):
    x = torch.ones(2) * dist.get_rank()
    SNIPPET
    assert x.tolist() == [120, 120]
""",
    ("dist2", "from datetime"): """\
with polyrank.lockstep(2):
    x = torch.ones(2)
    SNIPPET
    assert x.tolist() == [2, 2]
""",
    ("divergence", "with polyrank.lockstep"): _TRAIN + "SNIPPET\nprint(watched)\n",
    ("divergence", "with DebugMode"): _TRAIN
    + """\
if not hasattr(DebugMode, "save_logs"):  # torch 2.14 has it
    raise SystemExit
with polyrank.lockstep(1):
    SNIPPET
""",
    ("forecast", "with polyrank.forecast"): """\
def train():
    model = torch.nn.Linear(64, 64, device="cuda")
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        model(torch.ones(8, 64, device="cuda")).sum().backward()
        optimizer.step()
SNIPPET
assert f.memory.fits
""",
    ("pytest", "@pytest.mark.ranks"): """\
SNIPPET
def test_marked_thrice():
    assert dist.get_world_size() == 4096
""",
    ("trace", "with polyrank.trace"): """\
from torch.distributed.fsdp import fully_shard
polyrank.install()
with polyrank.lockstep(2):
    model = fully_shard(torch.nn.Linear(4, 4))
    x = torch.ones(2, 4)
    SNIPPET
""",
    ("trace", "from polyrank.fake_collectives"): """\
SNIPPET
with polyrank.lockstep(2):
    with Sizes():
        dist.all_reduce(torch.ones(2))
""",
    ("worlds", "with polyrank.fake_world"): """\
seen = []
def step(mesh):
    seen.append(mesh.get_coordinate())
SNIPPET
assert len(set(map(tuple, seen))) == 3
""",
}
