"""Scripts whose ranks are threads: modules, processes and data loaders as in processes."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli.test_run_threads import run

HEAD = """
import sys
import torch
import torch.distributed as dist
dist.init_process_group("gloo")
rank = dist.get_rank()
"""


def run_on_3(folder: Path, text: str, files: dict[str, str] | None = None) -> None:
    """Runs a script that asserts, with these files beside it."""
    for name, content in (files or {}).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    script = folder / "program.py"
    script.write_text(HEAD + text)
    done = run(folder, str(script), ranks=3)
    assert done.returncode == 0, done.stderr


def test_globals_of_modules_do_not_leak(tmp_path: Path) -> None:
    run_on_3(
        tmp_path,
        "import importlib, state\n"
        "from state import add\n"
        "for step in range(rank + 1):\n"
        "    add(step)\n"
        "    dist.all_reduce(torch.ones(1)) if step == 0 else None\n"
        "dist.barrier()\n"
        "assert state.TOTAL == rank * (rank + 1) // 2, state.TOTAL\n"
        "assert state.SEEN == list(range(rank + 1))\n"
        "assert sys.modules['state'] is importlib.import_module('state') is state\n"
        "before = state\n"
        "assert importlib.reload(state) is before and state.TOTAL == 0\n",
        {
            "state.py": "TOTAL = 0\nSEEN = []\n"
            "def add(x):\n    global TOTAL\n    TOTAL += x\n    SEEN.append(x)\n",
        },
    )


def test_packages_with_relative_and_circular_imports(tmp_path: Path) -> None:
    run_on_3(
        tmp_path,
        "import pkg.sub.deep, pkg\n"
        "pkg.VALUES.append(rank)\n"
        "dist.barrier()\n"
        "assert pkg.sub.deep.values() == [rank]\n"
        "def late():\n"
        "    from pkg.sub import other\n"
        "    return other.values()\n"
        "dist.barrier()\n"
        "assert late() == [rank]\n",
        {
            "pkg/__init__.py": "VALUES = []\nfrom . import sub\n",
            "pkg/sub/__init__.py": "from .deep import values\n",
            "pkg/sub/deep.py": "import pkg\ndef values(): return pkg.VALUES\n",
            "pkg/sub/other.py": "from ..sub.deep import values\n",
        },
    )


def test_classes_are_found_by_name(tmp_path: Path) -> None:
    run_on_3(
        tmp_path,
        "import dataclasses, pickle, typing, shapes\n"
        "class Local:\n    pass\n"
        "boxes = [None] * 3\n"
        "dist.all_gather_object(boxes, (shapes.Box(rank), Local()))\n"
        "assert all(type(box) is shapes.Box and type(own) is Local for box, own in boxes)\n"
        "assert [box.size for box, _ in boxes] == [0, 1, 2]\n"
        "assert typing.get_type_hints(shapes.Box)['inner'] == typing.Optional[shapes.Other]\n"
        "assert [f.name for f in dataclasses.fields(shapes.Box)] == ['size', 'inner']\n"
        "assert pickle.loads(pickle.dumps(shapes.Box)) is shapes.Box\n",
        {
            "shapes.py": "from __future__ import annotations\n"
            "import dataclasses\nfrom typing import ClassVar, Optional\n"
            "@dataclasses.dataclass\nclass Box:\n"
            "    size: int\n    inner: Optional[Other] = None\n    KIND: ClassVar[str] = 'box'\n"
            "class Other:\n    pass\n",
        },
    )


def test_a_module_may_wait_for_other_ranks_while_it_is_loaded(tmp_path: Path) -> None:
    run_on_3(
        tmp_path,
        "from ready import TOTAL\nassert TOTAL == 3\n",
        {
            "ready.py": "import torch, torch.distributed as dist\n"
            "x = torch.ones(1)\ndist.all_reduce(x)\nTOTAL = int(x)\n",
        },
    )


def test_a_module_that_raised_is_loaded_anew(tmp_path: Path) -> None:
    run_on_3(
        tmp_path,
        "try:\n    import broken\nexcept ZeroDivisionError:\n    pass\n"
        "else:\n    raise AssertionError\n"
        "assert 'broken' not in sys.modules\n"
        "dist.barrier()\n"
        "sys.ok = True\n"
        "import broken\n"
        "assert broken.DONE\n",
        {
            "broken.py": "import sys\nif not getattr(sys, 'ok', False):\n    1 / 0\nDONE = True\n",
        },
    )


def test_modules_made_by_hand_and_those_of_torch_and_numpy(tmp_path: Path) -> None:
    run_on_3(
        tmp_path,
        "import types, json, numpy\n"
        "sys.modules['made'] = types.ModuleType('made')\n"
        "sys.modules['made'].rank = rank\n"
        "boxes = [None] * 3\n"
        "dist.all_gather_object(boxes, [id(m) for m in (torch, numpy, json)])\n"
        "assert boxes[0] == boxes[1] == boxes[2]\n"
        "import made\n"
        "assert made.rank == rank\n"
        "dist.barrier()\n"
        "sys.modules['made'] = sys.modules['__main__'] = rank\n"
        "dist.barrier()\n"
        "assert sys.modules['made'] == sys.modules['__main__'] == rank\n",
    )


def test_a_compiled_module_of_an_own_package_is_shared(tmp_path: Path) -> None:
    compiled = importlib.util.find_spec("_heapq")
    if compiled is None or not (compiled.origin or "").endswith(".so"):
        pytest.skip("this Python has _heapq built in; another file would be needed")
    (tmp_path / "pkg").mkdir()
    shutil.copy(compiled.origin or "", tmp_path / "pkg")
    run_on_3(
        tmp_path,
        "import pkg._heapq\n"
        "dist.barrier()\n"
        "import pkg.user\n"
        "assert pkg.user.heapify is pkg._heapq.heapify and pkg.RANKS == [rank]\n"
        "assert pkg._heapq.__spec__.name == 'pkg._heapq'\n"
        "boxes = [None] * 3\n"
        "dist.all_gather_object(boxes, (id(pkg), id(pkg._heapq)))\n"
        "assert len({of for of, _ in boxes}) == 3 and len({of for _, of in boxes}) == 1\n",
        {
            "pkg/__init__.py": "import torch.distributed as dist\nRANKS = [dist.get_rank()]\n",
            "pkg/user.py": "from pkg._heapq import heapify\n",
        },
    )


def test_an_installed_package_with_compiled_parts_is_shared_with_what_it_imports(
    tmp_path: Path,
) -> None:
    compiled = importlib.util.find_spec("_heapq")
    if compiled is None or not (compiled.origin or "").endswith(".so"):
        pytest.skip("this Python has _heapq built in; another file would be needed")
    site = tmp_path / "site-packages"
    (site / "fast").mkdir(parents=True)
    shutil.copy(compiled.origin or "", site / "fast")
    run_on_3(
        tmp_path,
        f"sys.path.append({str(site)!r})\n"
        "import fast, base, pure\n"
        "boxes = [None] * 3\n"
        "dist.all_gather_object(boxes, [id(m) for m in (fast, base, pure)])\n"
        "assert [len(set(ids)) for ids in zip(*boxes)] == [1, 1, 3]\n"
        "assert fast.base is base\n",
        {
            "site-packages/fast/__init__.py": "import base\nfrom ._heapq import heapify\n",
            "site-packages/base.py": "",
            "site-packages/pure.py": "",
        },
    )


@pytest.mark.parametrize(
    ("options", "num_states", "told"),
    [
        ((), 3, "ranks share half._heapq: a compiled module of a package that is own"),
        (("--shared-module", "half"), 1, ""),
    ],
)
def test_pure_modules_of_an_installed_package_are_own_whatever_else_is_in_it(
    tmp_path: Path, options: tuple[str, ...], num_states: int, told: str
) -> None:
    compiled = importlib.util.find_spec("_heapq")
    if compiled is None or not (compiled.origin or "").endswith(".so"):
        pytest.skip("this Python has _heapq built in; another file would be needed")
    package = tmp_path / "site-packages" / "half"
    package.mkdir(parents=True)
    shutil.copy(compiled.origin or "", package)
    (package / "__init__.py").write_text("")
    (package / "state.py").write_text("SEEN = []\n")
    (package / "sorting.py").write_text("from ._heapq import heapify\n")
    (tmp_path / "program.py").write_text(
        HEAD + f"sys.path.append({str(tmp_path / 'site-packages')!r})\n"
        "import half.state, half.sorting\n"
        "dist.barrier()\n"
        "half.state.SEEN.append(dist.get_rank())\n"
        "dist.barrier()\n"
        "boxes = [None] * 3\n"
        "dist.all_gather_object(boxes, (id(half.state), id(half._heapq), len(half.state.SEEN)))\n"
        "states, compiled, seen = zip(*boxes)\n"
        f"assert len(set(states)) == {num_states} and len(set(compiled)) == 1, boxes\n"
        f"assert set(seen) == {{{3 // num_states}}}, boxes\n"
    )
    done = run(tmp_path, *options, "--verbose", "program.py", ranks=3)
    assert done.returncode == 0, done.stderr
    assert told in done.stderr


def test_an_installed_package_may_be_own_if_it_is_named(tmp_path: Path) -> None:
    compiled = importlib.util.find_spec("_heapq")
    if compiled is None or not (compiled.origin or "").endswith(".so"):
        pytest.skip("this Python has _heapq built in; another file would be needed")
    package = tmp_path / "site-packages" / "fast"
    package.mkdir(parents=True)
    shutil.copy(compiled.origin or "", package)
    (package / "__init__.py").write_text("import base\nfrom ._heapq import heapify\n")
    (package.parent / "base.py").write_text("")
    (tmp_path / "program.py").write_text(
        HEAD + f"sys.path.append({str(package.parent)!r})\n"
        "import fast, base\n"
        "boxes = [None] * 2\n"
        "dist.all_gather_object(boxes, [id(fast), id(base)])\n"
        "print('different', [len(set(ids)) for ids in zip(*boxes)])\n"
    )
    shared = run(tmp_path, "--verbose", "program.py", ranks=2)
    assert "different [1, 1]" in shared.stdout
    assert "ranks share base: imported by fast\n" in shared.stderr
    assert "ranks share fast: loads a compiled part as it is imported\n" in shared.stderr
    own = run(tmp_path, "--own-module", "fast", "program.py", ranks=2)
    assert "different [2, 2]" in own.stdout, own.stderr


@pytest.mark.parametrize("options", [(), ("--shared-module", "ops")])
def test_a_package_that_registers_operators_is_own_or_shared(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    (tmp_path / "ops.py").write_text(
        "import torch\n"
        "library = torch.library.Library('polyrank_test', 'DEF')\n"
        "library.define('twice(Tensor x) -> Tensor')\n"
        "library.impl('twice', lambda x: x + x, 'CPU')\n"
    )
    (tmp_path / "program.py").write_text(
        HEAD + "import ops\n"
        "assert torch.ops.polyrank_test.twice(torch.ones(1)).item() == 2\n"
        "dist.barrier()\n"
    )
    done = run(tmp_path, *options, "program.py", ranks=2)
    assert done.returncode == 0, done.stderr


def test_spawn_in_a_script_runs_each_rank_as_one_process(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import torch, torch.distributed as dist, torch.multiprocessing as mp\n"
        "def worker(rank, world_size, factor):\n"
        "    dist.init_process_group('gloo', init_method='tcp://127.0.0.1:29511',\n"
        "                            rank=rank, world_size=world_size)\n"
        "    x = torch.ones(1) * rank * factor\n"
        "    dist.all_reduce(x)\n"
        "    print(rank, x.item())\n"
        "    dist.destroy_process_group()\n"
        "if __name__ == '__main__':\n"
        "    mp.spawn(worker, args=(3, 10), nprocs=3, join=True)\n"
        "    context = mp.start_processes(worker, (3, 1), 3, join=False, start_method='fork')\n"
        "    assert context.join()\n"
    )
    done = run(tmp_path, "program.py", ranks=3)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == sorted(
        f"[rank{rank}]: {rank} {total}" for rank in range(3) for total in (3.0, 30.0)
    )
    done = run(tmp_path, "program.py", ranks=2)
    assert done.returncode == 1
    assert "the program spawns 3 processes" in done.stderr


@pytest.mark.parametrize("num_workers", [0, 2])
def test_data_loaders_and_samplers(tmp_path: Path, num_workers: int) -> None:
    run_on_3(
        tmp_path,
        "from torch.utils.data import DataLoader, DistributedSampler\n"
        "from data import Squares\n"
        "data = Squares(12)\n"
        "sampler = DistributedSampler(data, shuffle=True, seed=1)\n"
        f"loader = DataLoader(data, batch_size=2, sampler=sampler, num_workers={num_workers})\n"
        "for epoch in range(2):\n"
        "    sampler.set_epoch(epoch)\n"
        "    seen = []\n"
        "    for batch in loader:\n"
        "        total = batch.sum()\n"
        "        dist.all_reduce(total)\n"
        "        seen += batch.tolist()\n"
        "    assert len(seen) == 4\n"
        "    boxes = [None] * 3\n"
        "    dist.all_gather_object(boxes, seen)\n"
        "    assert sorted(sum(boxes, [])) == [i * i for i in range(12)]\n",
        {
            "data.py": "import os, time, torch\n"
            "class Squares(torch.utils.data.Dataset):\n"
            "    def __init__(self, size):\n        self.size = size\n"
            "        self.rank = os.environ['RANK']\n"
            "    def __len__(self):\n        return self.size\n"
            "    def __getitem__(self, i):\n"
            "        time.sleep(0.001)\n"
            "        assert os.environ['RANK'] == self.rank\n"
            "        return torch.tensor(float(i) ** 2)\n",
        },
    )


# Groups, a step counter and a random stream in globals of a module, as Megatron-LM has them.
STATE = """
import random
import numpy as np
import torch
import torch.distributed as dist
TENSOR_GROUP = DATA_GROUP = None
STEP = 0
def init(size):
    global TENSOR_GROUP, DATA_GROUP
    rank = dist.get_rank()
    for low in range(0, dist.get_world_size(), size):
        group = dist.new_group(list(range(low, low + size)))
        TENSOR_GROUP = group if low <= rank < low + size else TENSOR_GROUP
    for place in range(size):
        group = dist.new_group(list(range(place, dist.get_world_size(), size)))
        DATA_GROUP = group if rank % size == place else DATA_GROUP
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(rank)
def draw():
    global STEP
    STEP += 1
    return STEP, random.random(), np.random.standard_normal(), torch.rand(()).item()
"""

TRAINING = """
import os
import torch
import torch.distributed as dist
import state
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
dist.init_process_group("gloo")
state.init(2)
torch.manual_seed(7 + dist.get_rank(state.TENSOR_GROUP))
model = torch.nn.Linear(4, 4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
data = TensorDataset(torch.arange(64.0).view(16, 4) / 64)
place = dist.get_rank(state.DATA_GROUP)
sampler = DistributedSampler(data, num_replicas=2, rank=place, seed=5)
for (x,) in DataLoader(data, batch_size=2, sampler=sampler, num_workers=1):
    y = model(x)
    whole = y.detach().clone()
    dist.all_reduce(whole, group=state.TENSOR_GROUP)
    loss = (y * whole).square().mean()
    optimizer.zero_grad()
    loss.backward()
    for p in model.parameters():
        dist.all_reduce(p.grad, group=state.DATA_GROUP)
    optimizer.step()
    drawn = state.draw()
    if state.STEP == 2 and dist.get_rank() == 3:
        dist.send(torch.tensor([drawn[1]], dtype=torch.float64), dst=0)
    elif state.STEP == 2 and dist.get_rank() == 0:
        got = torch.zeros(1, dtype=torch.float64)
        dist.recv(got, src=3)
        drawn = (*drawn, got.item())
    with open(f"{os.environ['OUT']}{os.environ['RANK']}", "a") as file:
        print(loss.item(), *drawn, file=file)
dist.destroy_process_group()
"""


def test_a_program_with_state_in_modules_gives_what_processes_give(tmp_path: Path) -> None:
    (tmp_path / "state.py").write_text(STATE)
    (tmp_path / "program.py").write_text(TRAINING)
    torchrun = ("torch.distributed.run", "--standalone", "--nproc-per-node", "4")
    ours = ("polyrank.cli", "run", "--world", "threads", "--ranks", "4")
    for name, command in (("real", torchrun), ("ours", ours)):
        done = subprocess.run(
            [sys.executable, "-m", *command, "program.py"],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            cwd=tmp_path,
            env={**os.environ, "OUT": name, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
    for rank in range(4):
        real = (tmp_path / f"real{rank}").read_text()
        assert len(real.splitlines()) == 4
        assert (tmp_path / f"ours{rank}").read_text() == real
