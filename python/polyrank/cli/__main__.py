"""`python -m polyrank.cli`, the same as `polyrank`."""

from polyrank.cli import main

main()
