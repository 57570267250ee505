"""Write one instant in every notation a provider has been seen to use.

Notations of whole seconds round up: a client that obeys the text must not come back a fraction early
and be refused again, which would be the simulator's fault and not the client's.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import format_datetime
from enum import StrEnum


class Notation(StrEnum):
    """How an instant is written."""

    ISO_Z = "iso_z"
    ISO_NAIVE = "iso_naive"
    SPACE = "space"
    EPOCH_S = "epoch_s"
    EPOCH_MS = "epoch_ms"
    HTTP_DATE = "http_date"


def write_instant(utc_s: float, notation: Notation) -> str:
    """Return ``utc_s`` (seconds since the epoch) as text."""
    match notation:
        case Notation.ISO_Z:
            return datetime.fromtimestamp(utc_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        case Notation.EPOCH_MS:
            return str(math.ceil(utc_s * 1000))
        case Notation.EPOCH_S:
            return str(math.ceil(utc_s))
        case Notation.ISO_NAIVE:
            return _whole_second(utc_s).strftime("%Y-%m-%dT%H:%M:%S")
        case Notation.SPACE:
            return _whole_second(utc_s).strftime("%Y-%m-%d %H:%M:%S")
        case Notation.HTTP_DATE:
            return format_datetime(_whole_second(utc_s), usegmt=True)


def _whole_second(utc_s: float) -> datetime:
    return datetime.fromtimestamp(math.ceil(utc_s), UTC)
