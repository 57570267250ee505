"""Runs batches of paid submit-and-poll media generations, durably."""

__version__ = "0.1.0"
