"""A provider that loses replies, refuses and is away, with a history that lags; it counts what it is paid for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.provider.history import HistoryRow
from engine.provider.verdict import Accepted, NotSent, Throttled, Unavailable, UnknownOutcome
from tests.fake_provider import COST_USD, FakeProvider
from tests.jobs import MODEL

if TYPE_CHECKING:
    import random

    from engine.provider.verdict import SubmitVerdict
    from tests.virtual_clock import VirtualClock


class FaultyProvider(FakeProvider):
    """Goes wrong by the dice until ``mend`` is called.

    Attributes:
        rows: what the history will show, once its lag is over: (when, row).
    """

    def __init__(self, clock: VirtualClock, rng: random.Random, *, trouble: float) -> None:
        super().__init__(clock, rng, duration_s=60.0, spread=0.4)
        self.trouble = trouble
        self.history_lag_s = rng.choice((0.0, 5.0, 40.0))
        self.rows: list[tuple[float, HistoryRow]] = []
        self.draw_submit, self.draw_poll, self.draw_fetch = self._refusal, self._no_answer, self._no_answer

    def mend(self) -> None:
        """Make no more trouble."""
        self.trouble = 0.0

    async def submit(self, model: str, params: dict[str, Any]) -> SubmitVerdict:
        """Accept as the base does; the reply may be lost behind that."""
        verdict = await super().submit(model, params)
        if isinstance(verdict, Accepted):
            self._show(verdict.request_id, params)
            if self.rng.random() < self.trouble:
                return UnknownOutcome("the reply was lost")
        return verdict

    def _refusal(self, dice: random.Random) -> Any:
        if dice.random() >= self.trouble:
            return None
        return dice.choice((Throttled(3.0), NotSent("refused"), UnknownOutcome("502"), Throttled(None)))

    def _no_answer(self, dice: random.Random) -> Any:
        if dice.random() >= self.trouble:
            return None
        return dice.choice((Unavailable("502"), Unavailable("refused", reached=False), Throttled(2.0)))

    def _show(self, request_id: str, params: dict[str, Any]) -> None:
        row = HistoryRow(
            request_id=request_id,
            model=MODEL,
            state="running",
            body=params,
            urls=(),
            cost_usd=COST_USD,
            inference_s=None,
            created_utc=self.clock.utc(),
            error="",
            raw={},
        )
        self.rows.append((self.clock.now(), row))


class LaggingHistory:
    """Implements ``engine.provider.history.History`` over what a provider has accepted."""

    def __init__(self, provider: FaultyProvider) -> None:
        self._provider = provider

    async def row(self, request_id: str) -> HistoryRow | Unavailable | None:
        """Return one row, if it shows already."""
        shown = await self._shown()
        if isinstance(shown, Unavailable):
            return shown
        return next((row for row in shown if row.request_id == request_id), None)

    async def rows(self, model: str, *, since_utc: float, until_utc: float) -> list[HistoryRow] | Unavailable:
        """Return what shows of a time already."""
        shown = await self._shown()
        if isinstance(shown, Unavailable):
            return shown
        return [row for row in shown if row.created_utc and since_utc <= row.created_utc <= until_utc]

    async def _shown(self) -> list[HistoryRow] | Unavailable:
        provider = self._provider
        await provider.clock.sleep(provider.latency_s)
        if provider.rng.random() < provider.trouble:
            return Unavailable("503")
        until = provider.clock.now() - provider.history_lag_s
        return [row for moment, row in provider.rows if moment <= until]
