"""torchtitan's own program, each rank a thread. docs/torchtitan.md tells how to run it.

polyrank run --world threads --ranks 4 examples/torchtitan/train_threads.py …
"""

import on_cpu  # noqa: F401
from torchtitan.train import main

main()
