"""Media that go to an object store: the store itself, how a file is published in it, and the way from here to there."""
