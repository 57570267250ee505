"""Which names of a host mean this machine: no proxy stands between, and nobody else can listen. Pure."""

from __future__ import annotations

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
