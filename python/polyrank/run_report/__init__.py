"""What a recorded run looks like, as a page: `polyrank run --html`, `polyrank report`."""
