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

from engine.provider.protocol import Metrics

if TYPE_CHECKING:
    from collections.abc import Mapping

ERROR_TEXT_CHARS_MAX = 2_000
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

    def error_text(self) -> str:
        """Return the server's explanation, shortened; for a page that is not JSON, only what kind of page it is."""
        body = self.object()
        texts = [body.get(key) for key in ("error", "error_description", "message", "detail")]
        words = [text if isinstance(text, str) else orjson.dumps(text).decode() for text in texts if text]
        if words:
            return "; ".join(dict.fromkeys(words))[:ERROR_TEXT_CHARS_MAX]
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


def request_id_of(body: Mapping[str, Any]) -> str | None:
    """Return the usable request id of a submit reply: opaque, but safe in a URL path and a file name."""
    value = body.get("request_id")
    return value if isinstance(value, str) and _REQUEST_ID.match(value) else None


def number(value: Any) -> float | None:
    """Return a finite, non-negative number sent as a JSON number or a plain decimal string, else None."""
    if isinstance(value, str) and _DECIMAL.match(value):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def metrics_of(body: Mapping[str, Any]) -> Metrics:
    """Read ``metrics`` of a status or result body."""
    raw = body.get("metrics")
    if not isinstance(raw, dict):
        return Metrics()
    return Metrics(
        cost_usd=number(raw.get("cost")),
        inference_s=number(raw.get("inference_time")),
        queue_s=number(raw.get("queue_time")),
        credits_usd=number(raw.get("remaining_credits")),
    )


def media_urls(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Return every media URL of a result body, from the first place that has any.

    The order of places is that of the shapes seen in the provider's replies: ``output`` as a URL,
    ``video.url``, ``output.{url,video_url,media_url[0]}``, ``output[]`` (or its ``.url``), ``images[].url``,
    ``audio.url``, ``image.url``.
    """
    output = body.get("output")
    in_output = output if isinstance(output, dict) else {}
    places = (
        output if isinstance(output, str) else None,
        _member(body.get("video"), "url"),
        in_output.get("url"),
        in_output.get("video_url"),
        in_output.get("media_url"),
        output if isinstance(output, list) else None,
        body.get("images"),
        _member(body.get("audio"), "url"),
        _member(body.get("image"), "url"),
    )
    for place in places:
        urls = _urls(place)
        if urls:
            return urls
    return ()


def file_facts(body: Mapping[str, Any]) -> tuple[int | None, str | None]:
    """Return the length in bytes and the media type that the result claims for its file, where it does."""
    for key in ("video", "audio", "image"):
        place = body.get(key)
        if isinstance(place, dict):
            size = number(place.get("file_size"))
            kind = place.get("content_type")
            return (int(size) if size else None, kind if isinstance(kind, str) else None)
    return None, None


def _member(place: Any, key: str) -> Any:
    return place.get(key) if isinstance(place, dict) else None


def _urls(place: Any) -> tuple[str, ...]:
    candidates = place if isinstance(place, list) else [place]
    found = (item if isinstance(item, str) else _member(item, "url") for item in candidates)
    return tuple(url for url in found if isinstance(url, str) and url.startswith(("http://", "https://", "data:")))
