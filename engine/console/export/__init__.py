"""The results of a run as a table, in each of its formats."""
