"""Chance without state: each draw is a hash of the seed and of what it decides about.

Two runs with one seed agree on every job's fate whatever the order of arrival, because a draw depends on
the job's body and never on how many draws came before it.
"""

from __future__ import annotations

import math
from hashlib import blake2b
from statistics import NormalDist

_NORMAL = NormalDist()


class Dice:
    """All draws of one simulator."""

    __slots__ = ("_seed",)

    def __init__(self, seed: int) -> None:
        self._seed = str(seed)

    def share(self, *subject: object) -> float:
        """Return a uniform number strictly between 0 and 1 for this subject."""
        return (int.from_bytes(self._digest(subject, 8)) + 1) / (2**64 + 2)

    def hex_id(self, *subject: object) -> str:
        """Return 32 lowercase hexadecimal digits for this subject."""
        return self._digest(subject, 16).hex()

    def lognormal(self, median: float, sigma: float, *subject: object) -> float:
        """Return a draw from the lognormal distribution with this median."""
        return median * math.exp(sigma * _NORMAL.inv_cdf(self.share(*subject)))

    def _digest(self, subject: tuple[object, ...], size_bytes: int) -> bytes:
        text = "\x1f".join((self._seed, *map(str, subject)))
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size_bytes).digest()
