"""What a job is: words, states and records. No I/O here."""
