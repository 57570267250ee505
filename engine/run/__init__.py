"""One run from beginning to end: its parts, where they meet, and what is kept of it besides the jobs."""
