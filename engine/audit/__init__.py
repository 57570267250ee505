"""Hold ledger, output and files against each other, and mend what can be mended without paying."""
