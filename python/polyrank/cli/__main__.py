"""`python -m polyrank.cli`, the same as `polyrank`."""

from polyrank.cli.app import main

main()
