"""Traces: every collective that a program launches, with its line and its module."""
