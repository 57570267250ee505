"""The standard streams: their descriptors, and how a person names one where a file could stand."""

STDIN_FD = 0
STDOUT_FD = 1
DASH = "-"
"""stdin in the place of an input, stdout in that of an output."""
