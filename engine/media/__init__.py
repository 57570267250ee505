"""Network to disk: a URL becomes a verified file."""
