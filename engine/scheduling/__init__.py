"""Decisions, and the moving parts that carry them out. Knows the ledger and the provider by their interfaces."""
