"""What a rank's program meets in every world."""
