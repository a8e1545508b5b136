"""What a process has from its start and can't be given later: it is the same for a server and its runs."""

from __future__ import annotations

import os
import re
import resource
import sys
from pathlib import Path
from typing import Any

__all__ = ["difference", "limits", "situation"]

# How a row reads in "… is another one than the server's".
_WORDS = {
    "package": "polyrank's folder",
    "interpreter": "the interpreter",
    "options": "an option of the interpreter",
    "user": "the user or a group",
    "privileges": "a privilege",
    "namespaces": "a namespace of Linux",
    "control_groups": "the control group",
    "root": "the root folder",
    "priority": "the priority",
    "kernel": "what the kernel does with it (its personality, or oom_score_adj)",
    "stack": "the limit of the stack (`ulimit -s`)",
}
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
_PRIVILEGES = ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp")
# Groups that a terminal has for itself, with no limits of its own.
_OF_A_TERMINAL = re.compile(r"/(session|app|vte-spawn)-[^/\n]*\.scope$", re.MULTILINE)


def situation() -> dict[str, Any]:
    """That of this process, in what JSON has."""
    root = Path("/").stat()
    return {
        "package": str(Path(__file__).resolve().parents[1]),
        "interpreter": [os.path.realpath(sys.executable), sys.prefix, sys.version],
        "options": [list(sys.flags), sorted(map(str, sys._xoptions.items())), sys.warnoptions],
        "user": [list(os.getresuid()), list(os.getresgid()), sorted(os.getgroups())],
        "privileges": _privileges(),
        "namespaces": [str(Path("/proc/self/ns", name).readlink()) for name in _NAMESPACES],
        "control_groups": _OF_A_TERMINAL.sub("", _text("/proc/self/cgroup")),
        "root": [root.st_dev, root.st_ino],
        "priority": [os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)],
        "kernel": [_text("/proc/self/oom_score_adj"), _text("/proc/self/personality")],
        "stack": list(resource.getrlimit(resource.RLIMIT_STACK)),
    }


def difference(own: dict[str, Any], other: Any) -> str | None:
    """What differs, in words; None: nothing does."""
    if not isinstance(other, dict) or own.keys() != other.keys():
        return "polyrank is another one than the server's"
    for name, value in own.items():
        if value != other[name]:
            return f"{_WORDS[name]} is another one than the server's"
    return None


def limits() -> dict[str, tuple[int, int]]:
    """Those of the process, soft and hard, by name."""
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return {name: resource.getrlimit(getattr(resource, name)) for name in names}


def _privileges() -> list[str]:
    lines = _text("/proc/self/status").splitlines()
    return [line for line in lines if line.partition(":")[0] in _PRIVILEGES]


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:  # not in this kernel
        return ""
