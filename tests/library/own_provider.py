"""A provider in thirty lines: what a program implements to let the engine run batches on anything."""

from __future__ import annotations

from typing import Any

from engine.provider.protocol import (
    Accepted,
    FetchVerdict,
    Metrics,
    PollVerdict,
    Request,
    Result,
    SubmitVerdict,
    Working,
)


class Painter:
    """Paints at the second look."""

    def __init__(self) -> None:
        self._looks: dict[str, int] = {}
        self.painted = 0

    async def submit(self, model: str, params: dict[str, Any]) -> SubmitVerdict:
        """Take an order."""
        name = f"{model}-{len(self._looks)}"
        self._looks[name] = 0
        return Accepted(name) if params else Accepted("")

    async def poll(self, request: Request) -> PollVerdict:
        """Show the painting, once it is dry."""
        self._looks[request.id] += 1
        if self._looks[request.id] < 2:
            return Working("wet")
        self.painted += 1
        return Result(
            {"painting": request.id}, (f"https://gallery.example.com/{request.id}.png",), None, None, Metrics()
        )

    async def fetch(self, request: Request) -> FetchVerdict:
        """Show it again."""
        return Result({"painting": request.id}, (), None, None, Metrics())
