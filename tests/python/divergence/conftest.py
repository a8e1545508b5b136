"""What programs of these tests import late."""

# Its functions' default group is the one that exists when it is first imported.
import torch.distributed.nn.functional  # noqa: F401
