"""Runs PyTorch's own tests of its simulator on polyrank, from a checkout of PyTorch.

    python scripts/run_pytorch_tests.py --pytorch ~/pytorch
    python scripts/run_pytorch_tests.py --pytorch ~/pytorch distributed/tensor/test_redistribute.py

The checkout must be of the installed torch's version (`git checkout v2.13.0`): its tests are run,
not its code. Of files that also test with processes only the classes on the simulator are run.
`--simulator` runs the same tests on PyTorch's own, to compare; arguments after `--` go to pytest.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Below test/; all that have classes on the simulator.
FILES = (
    "distributed/test_local_tensor.py",
    "distributed/tensor/test_api.py",
    "distributed/tensor/test_common_rules.py",
    "distributed/tensor/test_convolution_ops.py",
    "distributed/tensor/test_decompositions.py",
    "distributed/tensor/test_dtensor.py",
    "distributed/tensor/test_dtensor_ops.py",
    "distributed/tensor/test_embedding_ops.py",
    "distributed/tensor/test_experimental_ops.py",
    "distributed/tensor/test_init.py",
    "distributed/tensor/test_math_ops.py",
    "distributed/tensor/test_matrix_ops.py",
    "distributed/tensor/test_op_strategy.py",
    "distributed/tensor/test_optimizers.py",
    "distributed/tensor/test_pointwise_ops.py",
    "distributed/tensor/test_random_ops.py",
    "distributed/tensor/test_redistribute.py",
    "distributed/tensor/test_tensor_ops.py",
    "distributed/tensor/test_utils.py",
    "distributed/tensor/test_view_ops.py",
    "distributed/tensor/experimental/test_local_map.py",
    "distributed/tensor/experimental/test_register_sharding.py",
    "distributed/tensor/parallel/test_parallelize_api.py",
    "distributed/tensor/parallel/test_tp_examples.py",
    "distributed/tensor/parallel/test_tp_random_state.py",
    "distributed/tensor/parallel/test_tp_style.py",
)
_MEANING = {pytest.ExitCode.OK: "passed", pytest.ExitCode.NO_TESTS_COLLECTED: "no such test"}
ON_SIMULATOR = "LocalTensor or LocalDTensor or LocalRunner"


def main() -> int:
    """Run the files one after the other; the exit code says whether all passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pytorch", type=Path, required=True, help="the checkout of PyTorch")
    parser.add_argument("--simulator", action="store_true", help="run on PyTorch's own simulator")
    parser.add_argument("files", nargs="*", default=FILES, help="files below test/; default: all")
    arguments, for_pytest = _split(sys.argv[1:])
    options = parser.parse_args(arguments)
    tests = options.pytorch.resolve() / "test"
    missing = [name for name in options.files if not (tests / name).is_file()]
    if len(missing) == len(options.files):
        parser.error(f"{tests} has none of {', '.join(missing)}")
    if missing:
        print(f"not in this checkout: {', '.join(missing)}", flush=True)
    files = [name for name in options.files if name not in missing]
    codes = {name: _run(tests, name, options.simulator, for_pytest) for name in files}
    for name, code in codes.items():
        print(f"{_MEANING.get(code, 'FAILED'):>12}  {name}")
    return 0 if set(codes.values()) <= set(_MEANING) else 1


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


def _run(tests: Path, name: str, on_simulator: bool, for_pytest: list[str]) -> int:
    install = [] if on_simulator else ["-p", "polyrank_pytest", "--polyrank-install"]
    # Neither the checkout's settings and plugins, nor its torch in place of the installed one.
    alone = ["-c", os.devnull, f"--rootdir={tests}", "--noconftest", "-p", "no:cacheprovider"]
    command = (sys.executable, "-m", "pytest", "-q", *alone, *install, "-k", ON_SIMULATOR)
    print(f"--- {name}", flush=True)
    done = subprocess.run((*command, *for_pytest, str(tests / name)), cwd=tests, check=False)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
