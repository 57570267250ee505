"""Times and spans as people type them: ``07:00``, ``2026-01-31T07:00``, ``8h``, ``1h30m``."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

_TIME_OF_DAY = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
_SPAN = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)
_SPAN_PARTS_S = (86_400, 3_600, 60, 1)


class TimeOfDay(click.ParamType[float]):
    """A moment to come, as seconds since the epoch."""

    name = "time"

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now().astimezone()) -> None:
        self._now = now

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the next moment at which the clock on the wall shows ``value``."""
        if isinstance(value, float):
            return value
        now = self._now()
        moment = _moment_of(str(value), now)
        if moment is None:
            self.fail(f"{value!r} is no time: write 07:00, or 2026-01-31T07:00", param, ctx)
        if moment <= now:
            self.fail(f"{value!r} has passed", param, ctx)
        return moment.timestamp()


class Span(click.ParamType[float]):
    """A span of time, in seconds."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return how long ``value`` is."""
        if isinstance(value, float):
            return value
        match = _SPAN.fullmatch(str(value).strip().lower())
        parts = match.groups() if match else ()
        span_s = sum(int(part) * unit_s for part, unit_s in zip(parts, _SPAN_PARTS_S, strict=False) if part)
        if not span_s:
            self.fail(f"{value!r} is no span of time: write 8h, 90m or 1h30m", param, ctx)
        return float(span_s)


def _moment_of(text: str, now: datetime) -> datetime | None:
    match = _TIME_OF_DAY.fullmatch(text)
    if match:
        moment = now.replace(hour=int(match[1]), minute=int(match[2]), second=0, microsecond=0)
        return moment if moment > now else _next_day(moment)
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        return None


def _next_day(moment: datetime) -> datetime:
    """Return the same time by the clock on the wall a day later, also over a change to summer time."""
    return (moment.replace(tzinfo=None) + timedelta(days=1)).astimezone()
