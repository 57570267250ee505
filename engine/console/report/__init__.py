"""The report of a run: what it came to, how it went, and the media themselves to look at."""
