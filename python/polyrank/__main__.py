"""`python -m polyrank`, the same as `polyrank`."""

from polyrank.cli import main

main()
