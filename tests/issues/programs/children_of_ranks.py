"""Processes that ranks start have the rank's environment; what ranks set in Python's library is theirs."""

import logging
import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path


def main() -> None:
    import torch.distributed as dist  # not in children, which load the program anew
    from report import report

    dist.init_process_group("gloo")
    rank = dist.get_rank()

    os.environ["OF_RANK"] = str(rank)
    if rank == 1:
        os.environ["OF_ONE"] = "1"
    logging.setLoggerClass(type(f"Logger{rank}", (logging.Logger,), {}))
    logging.addLevelName(7, f"level {rank}")
    multiprocessing.set_start_method(["fork", "spawn", "forkserver", "spawn"][rank], force=True)
    home = Path.cwd()
    Path(f"of rank {rank}").mkdir()
    os.chdir(f"of rank {rank}")
    mask = os.umask(0o077 if rank == 2 else 0o022)
    dist.barrier()
    Path("file").write_text(str(rank))

    pools = {}
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            dist.barrier()
            pools[method] = [pool.apply(os.getenv, (name,)) for name in ("OF_RANK", "OF_ONE")]
            dist.barrier()

    folder = {
        "own": Path.cwd().name,
        "of child": Path(subprocess.check_output(["pwd"], text=True).strip()).name,
        "mode": oct(Path("file").stat().st_mode),
        "others": sorted(path.name for path in Path("..").glob("of rank *")),
    }
    threads: list[str] = []
    thread = threading.Thread(target=lambda: threads.append(Path.cwd().name))
    thread.start()
    thread.join()
    os.chdir(home)
    os.umask(mask)
    report(
        folder=folder,
        threads=threads,
        pools=pools,
        child=subprocess.check_output(["/bin/sh", "-c", "echo $RANK $OF_RANK $OF_ONE"], text=True),
        python=subprocess.check_output(
            [sys.executable, "-c", "import os; print(os.getenv('OF_RANK'))"], text=True
        ),
        given=subprocess.check_output(
            ["/bin/sh", "-c", "echo $A"], text=True, env={"A": f"a{rank}"}
        ),
        shell=os.waitstatus_to_exitcode(os.system("exit $(($OF_RANK + 3))")),
        logger=type(logging.getLogger("of ranks")).__name__,
        level=logging.getLevelName(7),
        method=multiprocessing.get_start_method(),
    )


if __name__ == "__main__":
    main()
