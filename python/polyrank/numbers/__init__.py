"""Numbers that differ between ranks, as Python code meets them."""
