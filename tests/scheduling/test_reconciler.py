"""What an adoption from the history records; on virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from engine.job.states import State
from engine.ledger.flights import flights_in, unknowns
from engine.provider.history import HistoryRow
from engine.scheduling.reconciler import Findings, Reconciler
from tests.jobs import UNKNOWN_OUTCOME, UTC, add_jobs, bring_to, open_inline
from tests.virtual_clock import on_virtual_clock

if TYPE_CHECKING:
    from pathlib import Path

    from engine.job.flight import Flight
    from engine.ledger.ledger import Ledger
    from tests.virtual_clock import VirtualClock

WITHOUT_DATE = HistoryRow("request-0", "", "completed", None, ("https://e.example/a.mp4",), 4.5, 700.0, None, "", {})


class OneRow:
    """A history that has one row, whoever asks."""

    async def row(self, request_id: str) -> HistoryRow:
        assert request_id == WITHOUT_DATE.request_id
        return WITHOUT_DATE

    async def rows(self, model: str, *, since_utc: float, until_utc: float) -> list[HistoryRow]:
        return [WITHOUT_DATE]


async def adopted(ledger: Ledger, clock: VirtualClock, lost: Flight) -> Flight:
    """Let a reconciler settle one case and return what it adopted."""
    found: list[Flight] = []
    reconciler = Reconciler(
        ledger,
        OneRow(),
        policy="hold",
        grace_s=900.0,
        attempts_max=3,
        clock=clock,
        log=structlog.wrap_logger(None, processors=[drop]),
        findings=Findings(adopted=found.append, again=never, failed=never, changed=lambda: None),
    )
    reconciler.take_up([lost])
    looking = asyncio.create_task(reconciler.run())
    await clock.sleep(1)
    looking.cancel()
    (flight,) = found
    return flight


def drop(_logger: Any, _method: str, _event: Any) -> Any:
    raise structlog.DropEvent


def never(flight: Flight, **_: Any) -> None:
    raise AssertionError(flight.id)


@pytest.mark.parametrize("taken_up_as", [State.SUBMITTED, State.UNKNOWN])
def test_a_row_without_a_date_leaves_the_job_its_own(tmp_path: Path, clock: VirtualClock, taken_up_as: State) -> None:
    @on_virtual_clock
    async def check() -> None:
        ledger = open_inline(tmp_path / "run.db")
        await add_jobs(ledger, 1)
        await bring_to(ledger, State.SUBMITTED)
        (lost,) = await ledger.read(flights_in, State.SUBMITTED)  # as a process takes up what an earlier one submitted
        await ledger.unknown(0, 1, UNKNOWN_OUTCOME)
        if taken_up_as is State.UNKNOWN:
            (lost,) = await ledger.read(unknowns)
        lost.anchor(now=clock.now(), utc=UTC + 500)
        flight = await adopted(ledger, clock, lost)
        assert UTC <= flight.submitted_utc <= UTC + 1
        assert clock.now() - flight.submitted_at == pytest.approx(500, abs=2)
        (stored,) = await ledger.read(flights_in, State.SUBMITTED)
        assert stored.submitted_utc == flight.submitted_utc
        ledger.close()

    check()
