"""Which row of the provider's history is which of our lost submissions: pure decisions.

A lost submission was intended at a known moment with a known body. A row may be it if it is of the same
model, was created around that moment, holds our body (and perhaps the provider's defaults beside it), and
belongs to no other job of ours. Equal bodies are a multiset: whichever of them gets which row is right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.job.model_name import bare_model
from engine.job.records import decode_json

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from engine.job.flight import Flight
    from engine.provider.history import HistoryRow

BEFORE_INTENT_S = 60.0
"""The provider's clock may be this far behind ours."""
AFTER_INTENT_S = 300.0
"""A submission may have been accepted this long after it was intended: a slow upload, a clock that is ahead."""


def assign(
    claimants: Iterable[Flight], rows: Sequence[HistoryRow], *, owned: Collection[str]
) -> list[tuple[Flight, HistoryRow]]:
    """Return which submission without an id is which row, each used once.

    Exact bodies are matched before bodies with additions, and longer bodies before shorter ones. For that to keep
    a body that is part of another from taking the other's row, *every* submission that has no id yet must be
    among the claimants: those that are due, those that are not, and those whose reply may still come.

    Args:
        claimants: those that come first choose first among equals.
        owned: request ids that belong to jobs already.
    """
    free = {row.request_id: row for row in rows if row.request_id not in owned and row.body is not None}
    waiting = sorted(claimants, key=lambda flight: -len(flight.body))
    found: list[tuple[Flight, HistoryRow]] = []
    for matches in (_equal, _contains):
        for flight in list(waiting):
            body = decode_json(flight.body)
            row = next((row for row in free.values() if _around(flight, row) and matches(row.body, body)), None)
            if row is not None:
                found.append((flight, free.pop(row.request_id)))
                waiting.remove(flight)
    return found


def shows_later(rows: Iterable[HistoryRow], ours: Mapping[str, Flight], *, than_utc: float) -> bool:
    """Whether the history shows a submission of ours that was intended after ``than_utc``: it has caught up that far.

    Only a row counts that we would have recognised had its reply been lost: a history without bodies, or by a
    clock that is far off, proves nothing about anybody's absence.

    Args:
        ours: the jobs of this run by the request ids that they own.
    """
    return any(
        (mine := ours.get(row.request_id)) is not None and mine.intent_utc > than_utc and _recognised(mine, row)
        for row in rows
    )


def _recognised(flight: Flight, row: HistoryRow) -> bool:
    return row.body is not None and _around(flight, row) and _contains(row.body, decode_json(flight.body))


def _around(flight: Flight, row: HistoryRow) -> bool:
    if row.model and row.model != bare_model(flight.model):  # a provider does not know the name that the run gives it
        return False
    if row.created_utc is None:
        return True
    return flight.intent_utc - BEFORE_INTENT_S <= row.created_utc <= flight.intent_utc + AFTER_INTENT_S


def _equal(found: Any, sent: Any) -> bool:
    return bool(found == sent)


def _contains(found: Any, sent: Any) -> bool:
    """Whether ``found`` is ``sent`` with, at any depth, members added that were not sent."""
    if isinstance(sent, dict):
        return isinstance(found, dict) and all(
            key in found and _contains(found[key], value) for key, value in sent.items()
        )
    if isinstance(sent, list):
        return (
            isinstance(found, list)
            and len(found) == len(sent)
            and all(_contains(one, other) for one, other in zip(found, sent, strict=True))
        )
    return bool(found == sent)
