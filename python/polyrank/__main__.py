"""`python -m polyrank`, the same as `polyrank`."""

from polyrank_command import main

main()
