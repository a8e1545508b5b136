"""`polyrank doctor`: what this machine and this torch have, and whether each world computes what it must."""
