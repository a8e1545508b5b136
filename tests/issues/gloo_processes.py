"""One rank of gloo's processes, which runs programs one after another.

gloo_processes.py RANK WORLD_SIZE PORT FOLDER NAME...
"""

from __future__ import annotations

import datetime
import functools
import os
import runpy
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore

sys.path.insert(0, str(Path(__file__).parents[1]))

from gloo_gaps import gather_single

TIMEOUT_SECONDS = 60


def main(rank: int, world_size: int, port: int, folder: Path, names: list[str]) -> int:
    """Runs the programs; the number of those that failed."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    programs = Path(__file__).parent / "programs"
    sys.path.insert(0, str(Path(__file__).parent))
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world_size),
        LOCAL_WORLD_SIZE=str(world_size),
    )
    make_group = dist.init_process_group
    if hasattr(dist, "gather_single"):
        dist.gather_single = gather_single
    store = TCPStore("127.0.0.1", port, world_size, is_master=rank == 0)
    num_failed = 0
    for name in names:
        # As one process of several would run it: all that it makes on disk is in its folder.
        working_folder = folder / f"{name}.files"
        working_folder.mkdir(exist_ok=True)
        os.chdir(working_folder)
        # Rank 0's file is the one that is looked at; all say the same.
        os.environ["REPORT_FILE"] = str(folder / (f"{name}.json" if rank == 0 else f"{rank}.json"))
        dist.init_process_group = functools.partial(
            _init_gloo, make_group, PrefixStore(name, store), rank, world_size
        )
        try:
            runpy.run_path(str(programs / f"{name}.py"), run_name="__main__")
            dist.barrier()
        except Exception:  # noqa: BLE001
            traceback.print_exc()
            num_failed += 1
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()
        # The next program starts on all ranks at once, also after one that failed on some.
        store.add(f"over/{name}", 1)
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while store.add(f"over/{name}", 0) < world_size and time.monotonic() < deadline:
            time.sleep(0.01)
    return num_failed


def _init_gloo(
    make_group: Callable[..., None],
    store: Store,
    rank: int,
    world_size: int,
    *args: Any,
    **kwargs: Any,
) -> None:
    """`init_process_group` of a program, on a store of the program's own."""
    make_group(
        args[0] if args else kwargs.get("backend", "gloo"),
        store=store,
        rank=rank,
        world_size=world_size,
        timeout=datetime.timedelta(seconds=TIMEOUT_SECONDS),
    )


if __name__ == "__main__":
    own_rank, number, at_port, where, *programs = sys.argv[1:]
    sys.exit(main(int(own_rank), int(number), int(at_port), Path(where), programs))
