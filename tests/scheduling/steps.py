"""Flights in any state, and the answers that lead there: what the tests of single steps share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.job.records import JobError
from engine.job.states import State
from engine.ledger.flights import pending_after
from engine.provider.history import HistoryRow
from engine.provider.verdict import Metrics, Rejected, Result, ServerError
from engine.scheduling.steps import Fetched, SubmitAgain, Submitted
from tests.jobs import add_jobs

if TYPE_CHECKING:
    from engine.job.flight import Flight
    from engine.provider.verdict import Unavailable as NoAnswer
    from tests.scheduling.conftest import World

URL = "https://images.example.com/a.mp4"
RESULT = Result({"output": URL}, (URL,), 4, "video/mp4", Metrics(cost_usd=4.5))
REFUSED = Rejected(JobError(kind="rejected", message="no such voice", http_status=400))
NO_MEDIA = Result({"status": "COMPLETED"}, (), None, None, Metrics(cost_usd=4.5))


async def flight_at(world: World, state: State, *, attempts: int = 0) -> Flight:
    """Return a flight whose last step left it in ``state``."""
    await add_jobs(world.ledger, 1)
    (flight,) = await world.ledger.read(pending_after, -1, 1)
    for _ in range(attempts):
        world.provider.submit_script.append(ServerError("oops", 500))
        assert isinstance(await world.life.submit(flight), SubmitAgain)
    if state is not State.PENDING:
        assert isinstance(await world.life.submit(flight), Submitted)
    if state is State.READY:
        world.provider.fetch_script.append(RESULT)
        assert isinstance(await world.life.fetch(flight), Fetched)
    return flight


async def attempt_rows(world: World) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = await world.ledger.read(
        lambda db: db.execute("SELECT attempt, request_id, error IS NOT NULL FROM attempt").fetchall()
    )
    return found


class OneRow:
    """A history that gives one answer to everything."""

    def __init__(self, answer: HistoryRow | NoAnswer | None) -> None:
        self.answer = answer

    async def row(self, request_id: str) -> HistoryRow | NoAnswer | None:
        return self.answer

    async def rows(self, model: str, *, since_utc: float, until_utc: float) -> list[HistoryRow] | NoAnswer:
        return []


def row(state: Any, *, urls: tuple[str, ...] = (URL,)) -> HistoryRow:
    return HistoryRow("r", "kling-2.6", state, None, urls, 4.5, 700.0, None, "face not found", {"id": "r"})
