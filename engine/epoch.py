"""Read a moment in any notation that a server may send; what cannot be read is None, never a guess or an error."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_NUMBER = re.compile(r"[0-9]{1,13}(\.[0-9]{1,9})?\Z", re.ASCII)
_EPOCH_MS_FROM = 1e11
"""Above this an epoch is in milliseconds: as seconds it would lie in the year 5138."""


def epoch_of(value: object) -> float | None:
    """Return seconds since the epoch, UTC, for an epoch (s or ms), ISO 8601 or an HTTP date.

    ISO may have ``T`` or a space, and ``Z``, an offset or nothing, which then means UTC.
    """
    if isinstance(value, str):
        text = value.strip()
        if not text.isascii():
            return None
        if _NUMBER.match(text):
            return _from_number(float(text))
        return _from_iso(text) if text[:1].isdigit() else epoch_of_http_date(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return _from_number(number) if math.isfinite(number) and number >= 0 else None


def epoch_of_http_date(text: str) -> float | None:
    """Return seconds since the epoch for an HTTP date (RFC 9110, 5.6.7)."""
    try:
        return _utc(parsedate_to_datetime(text))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _from_number(number: float) -> float:
    return number / 1000 if number > _EPOCH_MS_FROM else number


def _from_iso(text: str) -> float | None:
    try:
        return _utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None


def _utc(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
