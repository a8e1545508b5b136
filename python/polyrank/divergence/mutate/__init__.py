"""Collectives that are left out, run twice or run late, one at a time: which of it no test notices."""
