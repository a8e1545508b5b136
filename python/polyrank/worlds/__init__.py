"""The worlds, a module or folder each, and what several of them need to run a script."""
