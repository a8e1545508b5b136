"""Ranks that hold different values where they should hold the same: which operation parts them."""
