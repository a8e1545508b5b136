"""LocalTensor, the mode in which a program runs on many ranks, and functions over ranks."""
