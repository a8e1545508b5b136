"""`--debug-rank R`: one rank has the terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

RUN = (sys.executable, "-m", "polyrank.cli", "run", "--ranks", "3")
PROGRAM = """
import sys
import torch, torch.distributed as dist
dist.init_process_group("gloo")
x = torch.full((1,), float(dist.get_rank()))
if dist.get_rank() == 2:
    assert sys.stdin.isatty() and sys.stdout.isatty()
    breakpoint()
dist.all_reduce(x)
print("sum", x.item())
"""


class Terminal:
    """What a person at a terminal would see and type."""

    def __init__(self, file: int) -> None:
        self._file = file
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())

    def wait_for(self, text: str, seconds: float = 60) -> str:
        """What came up to that text."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            ready, _, _ = select.select([self._file], [], [], deadline - time.monotonic())
            assert ready, f"no {text!r} in {self.seen!r}"
            try:
                self.seen += os.read(self._file, 4096).decode()
            except OSError:  # nobody has its other end any more
                raise AssertionError(f"no {text!r} in {self.seen!r}") from None
        before, _, self.seen = self.seen.partition(text)
        return before


def test_breakpoint_reaches_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    here, there = pty.openpty()
    run = subprocess.Popen(
        (*RUN, "--debug-rank", "2", "program.py"),
        stdin=there,
        stdout=there,
        stderr=there,
        cwd=tmp_path,
    )
    os.close(there)
    try:
        terminal = Terminal(here)
        terminal.wait_for("(Pdb) ")
        terminal.type("p 'rank', dist.get_rank()\n")
        assert "('rank', 2)" in terminal.wait_for("(Pdb) ")
        terminal.type("x.fill_(100)\n")
        terminal.wait_for("(Pdb) ")
        terminal.type("c\n")
        for _ in range(3):
            terminal.wait_for("sum 101.0")
        terminal.wait_for("seconds")
        assert run.wait(60) == 0
    finally:
        run.kill()
        run.wait()
        os.close(here)


def test_others_are_not_told_to_wait_too_long_and_write_as_ever(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import sys, torch.distributed as dist\n"
        "dist.init_process_group('gloo')\n"
        "if dist.get_rank() == 1:\n"
        "    print('read', input('what? '))\n"
        "else:\n"
        "    print('has', repr(sys.stdin.read()))\n"
        "dist.barrier()\n"
    )
    done = subprocess.run(
        (*RUN, "--debug-rank", "1", "program.py"),
        input="an answer\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        cwd=tmp_path,
    )
    # The others write when they do: also while the one waits after its question.
    of_one = re.sub(r"\[rank[02]\]: has ''\n", "", done.stdout)
    assert "what? read an answer\n" in of_one
    assert all(f"[rank{rank}]: has ''\n" in done.stdout for rank in (0, 2))


def test_a_rank_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("")
    done = subprocess.run(
        (*RUN, "--debug-rank", "3", "program.py"),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "a world of 3 ranks has no rank 3" in " ".join(done.stderr.split())


def test_others_end_when_the_rank_at_the_terminal_has_failed(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import os, time\n"
        "if os.environ['RANK'] == '1':\n"
        "    raise ValueError('seen enough')\n"
        "time.sleep(1000)\n"
    )
    done = subprocess.run(
        (*RUN, "--debug-rank", "1", "program.py"),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert "ranks 0,2 did not end within 10 s after rank 1 failed" in done.stderr
    assert "ValueError: seen enough" in done.stderr
