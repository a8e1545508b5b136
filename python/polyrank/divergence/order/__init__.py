"""How far a program's losses move with the order in which reductions add."""
