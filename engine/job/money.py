"""How an amount of money is written for people. Pure."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

CENT = Decimal("0.01")


def usd_words(amount_usd: float) -> str:
    """Return US dollars to the cent, rounded as people and browsers round: $4.475 is $4.48."""
    exact = Decimal(repr(round(float(amount_usd), 6)))  # without what adding many amounts leaves behind
    return f"${exact.quantize(CENT, ROUND_HALF_UP):,}"
