"""Ints that differ between ranks, under PyTorch's name for them."""

from torch.fx.experimental import _constant_symnode

from polyrank._C import LocalIntNode

__all__ = ["ConstantIntNode", "LocalIntNode"]


class ConstantIntNode(_constant_symnode.ConstantIntNode):
    """What `LocalIntNode(...)` gives where all ranks hold the same: PyTorch's node, and `int()`."""

    def int_(self) -> int:
        """The value, for `int()`, `range()` and indexing with the SymInt of this node."""
        return self.val
