"""A provider in thirty lines: what a program implements to let the engine run batches on anything."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from engine.provider.verdict import Accepted, Metrics, PollVerdict, Result, SubmitVerdict, Working

if TYPE_CHECKING:
    from engine.provider.protocol import Request


class Painter:
    """Paints at the second look."""

    def __init__(self) -> None:
        self._orders: dict[str, dict[str, Any]] = {}
        self._looks: Counter[str] = Counter()
        self.painted = 0

    async def submit(self, model: str, params: dict[str, Any]) -> SubmitVerdict:
        """Take an order."""
        name = f"{model}-{len(self._orders)}"
        self._orders[name] = params
        return Accepted(name)

    async def poll(self, request: Request) -> PollVerdict:
        """Show the painting, once it is dry."""
        self._looks[request.id] += 1
        if self._looks[request.id] < 2:
            return Working("wet")
        self.painted += 1
        return Result(
            {"painting": request.id}, (f"https://gallery.example.com/{request.id}.png",), None, None, Metrics()
        )

    async def fetch(self, request: Request) -> Result:
        """Show it again."""
        url = f"https://gallery.example.com/{request.id}.png"
        return Result({"of": self._orders[request.id]}, (url,), None, None, Metrics(cost_usd=12.5))
