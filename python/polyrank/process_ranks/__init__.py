"""The processes world: each rank is a process, forked off one that has all they have in common."""
