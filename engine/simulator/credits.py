"""The account's money: a visible balance, and what running jobs block of it.

The balance that is shown does not include reservations, so a submit can be refused while money is still
visible. Knows nothing of HTTP or of jobs.
"""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    """Why a submit is refused over money."""

    CREDITS = "insufficient credits"
    TEAM_LIMIT = "team spend limit reached"


class Credits:
    """A balance in US dollars with reservations."""

    def __init__(self, start_usd: float) -> None:
        self.balance_usd = start_usd
        self.reserved_usd = 0.0
        self.spent_usd = 0.0

    def refusal(self, price_usd: float, *, reserve: bool, team_limit_usd: float | None) -> Refusal | None:
        """Say why a job of this price cannot be paid, or None if it can."""
        blocked_usd = self.reserved_usd if reserve else 0.0
        if team_limit_usd is not None and self.spent_usd + blocked_usd + price_usd > team_limit_usd:
            return Refusal.TEAM_LIMIT
        if blocked_usd + price_usd > self.balance_usd:
            return Refusal.CREDITS
        return None

    def hold(self, price_usd: float) -> None:
        """Reserve the price of an accepted job."""
        self.reserved_usd += price_usd

    def settle(self, price_usd: float, *, paid: bool) -> None:
        """Release a job's reservation and take its price if it completed."""
        self.reserved_usd = max(0.0, self.reserved_usd - price_usd)
        if paid:
            self.balance_usd -= price_usd
            self.spent_usd += price_usd

    def add(self, amount_usd: float) -> None:
        """Top the balance up."""
        self.balance_usd += amount_usd
