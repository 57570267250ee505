"""What is counted, and asked, of all jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.job.states import State
from engine.ledger.counts import takes_others_only
from engine.ledger.new_lines import add_lines
from tests.jobs import MODEL, bring_to, job_row, read_to

if TYPE_CHECKING:
    from engine.ledger.ledger import Ledger


async def test_a_model_is_told_from_the_others_of_its_provider_once_one_of_them_was_taken(ledger: Ledger) -> None:
    rows = [job_row(line, id_=f"job-{line}", model=model) for line, model in enumerate((MODEL, "gone", "fal:a"), 1)]
    await ledger.change(add_lines, rows, read_to(3))
    assert not await ledger.read(takes_others_only, "gone")
    await bring_to(ledger, State.SUBMITTING)
    assert not await ledger.read(takes_others_only, "gone"), "an intent is no acceptance"
    await ledger.accepted(0, 1, "request-0", utc=1.0)
    assert await ledger.read(takes_others_only, "gone")
    assert not await ledger.read(takes_others_only, MODEL)
    assert not await ledger.read(takes_others_only, "fal:a"), "another provider's jobs say nothing of this one's"
