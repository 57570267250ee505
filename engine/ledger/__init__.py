"""The disk: what stays. Knows nothing of the network."""
