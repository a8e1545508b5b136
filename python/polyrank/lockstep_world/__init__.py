"""A program for all its ranks at once: what torch and Python's library do there."""
