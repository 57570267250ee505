"""Read the head of an answer to a GET and decide what its body is good for.

Pure: takes a status, headers and what is already on disk, and returns a value. The transfer acts on it. Numbers in
headers are believed only in the plain form the standard gives them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.epoch import epoch_of_http_date

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.media.failures import FailureKind

OK, PARTIAL, RANGE_NOT_SATISFIABLE = 200, 206, 416
REDIRECTS = frozenset({301, 302, 303, 307, 308})
GONE = frozenset({403, 404, 410})

# A modification time proves that nothing changed only when it was old already as the answer was made.
SETTLED_S = 60

_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.ASCII)
_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]*"')
_TRANSPORT_CODINGS = frozenset({"gzip", "x-gzip", "br", "deflate", "zstd", "compress"})


@dataclass(frozen=True, slots=True)
class ContentRange:
    """``Content-Range: bytes start-end/total``; ``end`` is the last byte, ``total`` may be unknown."""

    start: int
    end: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Head:
    """What an answer says of its body."""

    status: int
    length: int | None = None
    range: ContentRange | None = None
    chunked: bool = False
    etag: str | None = None
    validator: str | None = None
    content_type: str | None = None
    encoded: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """What is on disk of a file, and how a host can be asked whether it is still the same one."""

    bytes: int = 0
    validator: str | None = None
    total: int | None = None

    @property
    def resumable(self) -> bool:
        """Tell whether the rest can be asked for."""
        return self.bytes > 0 and self.validator is not None


@dataclass(frozen=True, slots=True)
class FromStart:
    """The body is the file from its first byte."""

    total: int | None


@dataclass(frozen=True, slots=True)
class Append:
    """The body continues what is on disk."""

    total: int | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The body is of no use; ``forget``: what is on disk is of none either."""

    kind: FailureKind
    message: str
    forget: bool = False


Verdict = FromStart | Append | Refused


def number(text: str | None) -> int | None:
    """Return a length as the standard writes it, or None; ``int()`` would take ``+1``, ``1_0`` and other digits."""
    return int(text) if text is not None and _NUMBER.fullmatch(text) else None


def content_range(text: str | None) -> ContentRange | None:
    """Return a Content-Range that is possible, or None."""
    match = _RANGE.fullmatch((text or "").strip())
    if match is None:
        return None
    start, end, total = int(match[1]), int(match[2]), number(match[3])
    if end < start or (total is not None and end >= total):
        return None
    return ContentRange(start, end, total)


def strong_validator(etag: str | None, last_modified: str | None, date: str | None) -> str | None:
    """Return what ``If-Range`` may carry: a strong ETag, or a modification time long settled; else None."""
    if etag is not None:
        return etag if _STRONG_ETAG.fullmatch(etag) else None
    modified_s, answered_s = _epoch_s(last_modified), _epoch_s(date)
    if modified_s is None or answered_s is None or answered_s - modified_s <= SETTLED_S:
        return None
    return last_modified


def _epoch_s(http_date: str | None) -> float | None:
    if http_date is None or not http_date.isascii() or not http_date.endswith(" GMT"):
        return None
    return epoch_of_http_date(http_date)


def read_head(status: int, headers: Mapping[str, str]) -> Head:
    """Pick out of case-insensitive ``headers`` what decides."""
    etag = headers.get("ETag")
    return Head(
        status=status,
        length=number(headers.get("Content-Length")),
        range=content_range(headers.get("Content-Range")),
        chunked="chunked" in headers.get("Transfer-Encoding", "").lower(),
        etag=etag,
        validator=strong_validator(etag, headers.get("Last-Modified"), headers.get("Date")),
        content_type=headers.get("Content-Type"),
        encoded=headers.get("Content-Encoding", "").strip().lower() in _TRANSPORT_CODINGS,
    )


def decide(head: Head, kept: Kept, *, asked_range: bool) -> Verdict:
    """Decide what the body of an answer is good for."""
    if head.status in GONE:
        return Refused("url_gone", f"the host answers {head.status}: the URL has expired or was never valid")
    if head.status == OK:
        return FromStart(head.length)
    if head.status == PARTIAL:
        return _decide_partial(head, kept) if asked_range else _decide_unasked(head)
    if head.status == RANGE_NOT_SATISFIABLE:
        # Even "bytes */N" with the N we have proves nothing about the bytes we have.
        return Refused("unreachable", "the host refuses the range (416)", forget=True)
    return Refused("unreachable", f"the host answers {head.status}")


def _decide_unasked(head: Head) -> Verdict:
    whole = head.range
    if whole is None or whole.start != 0 or whole.total != whole.end + 1:
        return Refused("unreachable", "the host answers with a part that was not asked for", forget=True)
    return FromStart(whole.total)


def _decide_partial(head: Head, kept: Kept) -> Verdict:
    part = head.range
    if part is None or part.start != kept.bytes:
        return Refused("unreachable", "the host answers with another range than was asked for", forget=True)
    if head.length is not None and head.length != part.end - part.start + 1:
        return Refused("unreachable", "the lengths in the answer contradict each other", forget=True)
    if part.total is not None and kept.total is not None and part.total != kept.total:
        return Refused("unreachable", f"the length changed from {kept.total} to {part.total}", forget=True)
    if head.etag is not None and (kept.validator or "").startswith('"') and head.etag != kept.validator:
        return Refused("unreachable", "the file changed between two tries (ETag)", forget=True)
    return Append(part.total if part.total is not None else kept.total)
