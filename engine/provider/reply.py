"""What came back over HTTP, before anybody decides what it means.

Pure values and readers; every number that a server sent is checked here, because a server may send
``NaN``, digits of another script or a list where a number should be.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from engine.provider.json_path import EVERY, value_at, values_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ERROR_TEXT_CHARS_MAX = 2_000
HEADER = "header:"
"""What a place begins with that is a header of the reply."""
ERROR_PLACES = ("error", "error_description", "message", "detail")
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,128}\Z", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP reply: its status and headers are the server's own, its body is complete and capped."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body's JSON value, or None for anything that is not JSON (``null`` included)."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None

    def object(self) -> dict[str, Any]:
        """Return the body if it is a JSON object, else an empty one."""
        value = self.json()
        return value if isinstance(value, dict) else {}

    def value_at(self, place: str, body: Any) -> Any:
        """Return the value at a place: a path into ``body``, its JSON, or a header as text; None if there is none."""
        if place.startswith(HEADER):
            return self.headers.get(place.removeprefix(HEADER))
        return value_at(body, place)

    def error_text(self, places: Sequence[str] = ERROR_PLACES) -> str:
        """Return the server's explanation, shortened; for a page that is not JSON, only what kind of page it is."""
        body = self.object()
        texts = [value_at(body, place) for place in places]
        words = [text if isinstance(text, str) else orjson.dumps(text).decode() for text in texts if text]
        if words:
            return "; ".join(dict.fromkeys(words))[:ERROR_TEXT_CHARS_MAX]
        if body:
            return f"HTTP {self.status} without an explanation"
        if not self.body.strip():
            return f"HTTP {self.status} with an empty body"
        kind = (
            "an HTML page"
            if self.body.lstrip()[:1] == b"<"
            else f"{len(self.body)} bytes that are not the documented JSON"
        )
        return f"HTTP {self.status} with {kind}"


@dataclass(frozen=True, slots=True)
class NoReply:
    """No usable HTTP reply.

    Attributes:
        reason: what happened, without secrets.
        sent: False only if it is certain that no byte of the request left this machine.
        bad_certificate: the server's certificate was refused; waiting will not help.
    """

    reason: str
    sent: bool
    bad_certificate: bool = False


def request_id_at(body: Mapping[str, Any], place: str) -> str | None:
    """Return the usable request id at a place of a body."""
    return usable_request_id(value_at(body, place))


def usable_request_id(value: Any) -> str | None:
    """Return a request id if it is usable: opaque, but safe in a URL path and a file name."""
    return value if isinstance(value, str) and _REQUEST_ID.match(value) else None


def number(value: Any) -> float | None:
    """Return a finite, non-negative number sent as a JSON number or a plain decimal string, else None."""
    if isinstance(value, str) and _DECIMAL.match(value):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def media_urls(body: Any, places: Sequence[str]) -> tuple[str, ...]:
    """Return every URL of the first place of a body that has any; an item of a list may be an object with one."""
    return next((urls for place in places if (urls := _urls_at(body, place))), ())


def _urls_at(body: Any, place: str) -> tuple[str, ...]:
    found = values_at(body, place)
    if place.endswith(EVERY):
        found = [item.get("url") if isinstance(item, dict) else item for item in found]
    return tuple(url for url in found if isinstance(url, str) and url.startswith(("http://", "https://", "data:")))
