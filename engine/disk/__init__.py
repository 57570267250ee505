"""Files that outlast a power cut, and where those of a run lie. Knows nothing of jobs, ledger or network."""
