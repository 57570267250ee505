"""Read ``Range`` and ``If-Range`` for a file of known size.

Only one range of bytes is served; several, or another unit, are answered with the whole file, as the
standard allows. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_ONE_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes from ``begin`` up to ``end``; ``partial`` if a range was asked for and is given."""

    begin: int
    end: int
    partial: bool


def asked_span(headers: Mapping[str, str], *, size_bytes: int, strong_etag: str | None) -> Span | None:
    """Return what to send, or None if the range lies outside the file (416)."""
    whole = Span(0, size_bytes, partial=False)
    condition = headers.get("If-Range")
    if condition is not None and condition != strong_etag:
        return whole
    match = _ONE_RANGE.fullmatch(headers.get("Range", "").replace(" ", ""))
    if match is None or match.groups() == ("", ""):
        return whole
    first, last = match.groups()
    if not first:
        return Span(max(0, size_bytes - int(last)), size_bytes, partial=True) if int(last) else None
    begin = int(first)
    end = min(size_bytes, int(last) + 1) if last else size_bytes
    return Span(begin, end, partial=True) if begin < end else None
