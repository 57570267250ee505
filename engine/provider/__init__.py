"""The network side: submit, poll, fetch and settle, and what is known of each provider."""
