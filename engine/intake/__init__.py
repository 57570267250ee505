"""Job lines on their way in: from a file, a pipe, a table or a program, block by block into the ledger."""
