"""Tests that fail for a known reason. The list may only shrink: a test that passes must leave it."""

# Test, by the end of its id -> reason.
KNOWN_FAILURES: dict[str, str] = {}
