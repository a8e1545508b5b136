"""torchtitan's own trainer, with its own arguments."""

import torch.distributed as dist
from torchtitan.train import main

# Torchtitan 0.3.0 is made for torch 2.14, which adds this.
if not hasattr(dist, "set_timeout"):
    dist.set_timeout = lambda *args, **kwargs: None

if __name__ == "__main__":
    main()
