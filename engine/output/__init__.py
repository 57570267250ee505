"""Results on their way out: a projection of the ledger, each line appended exactly once."""
