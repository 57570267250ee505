"""The ledger: the one account of a run, from which everything can be taken up again. Knows nothing of the network."""
