"""`python -m polyrank`, the same as `polyrank`."""

from polyrank.cli.app import main

main()
