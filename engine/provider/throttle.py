"""How long a 429 asks us to wait.

The provider documents a header but not its format, so every format seen in the wild is read, against the
response's own ``Date`` (our clock may be wrong by days). What cannot be read is no hint, never a number.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from engine.epoch import epoch_of, epoch_of_http_date

if TYPE_CHECKING:
    from collections.abc import Mapping

WAIT_S_MIN = 1.0
WAIT_S_MAX = 120.0
RESET_HEADER = "x-rate-limit-reset-at-utc"

_SECONDS = re.compile(r"[0-9]{1,13}(\.[0-9]{1,9})?\Z", re.ASCII)


def throttle_wait_s(headers: Mapping[str, str], *, utc: float) -> float | None:
    """Return the seconds to wait that a 429's headers ask for, within [1, 120], or None without a usable hint.

    Args:
        headers: case-insensitive; the header may be absent, repeated (then the mapping gives the first), or absurd.
        utc: our own idea of the time, used where the response carries no ``Date``.
    """
    now = epoch_of_http_date(headers.get("Date", "")) or utc
    hints = (_retry_after_s(headers.get("Retry-After", ""), now), _reset_in_s(headers.get(RESET_HEADER, ""), now))
    usable = [hint for hint in hints if hint is not None]
    return min(max(*usable, WAIT_S_MIN), WAIT_S_MAX) if usable else None


def _retry_after_s(text: str, now: float) -> float | None:
    text = text.strip()
    if _SECONDS.match(text):
        return float(text)
    date = epoch_of_http_date(text)
    return None if date is None else date - now


def _reset_in_s(text: str, now: float) -> float | None:
    moment = epoch_of(text)
    return None if moment is None else moment - now
