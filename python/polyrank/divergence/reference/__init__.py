"""A program at two parallelisms: where its numbers leave those of the reference by more than rounding."""
