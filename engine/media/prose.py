"""Recognise text: JSON, HTML, XML, SVG, plain text.

Where media was promised, text is an error page with a polite status code. Whether it was promised is not known here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import orjson

from engine.media.content import BadMediaError, Structure

if TYPE_CHECKING:
    from engine.media.content import Content

JSON_BYTES_MAX = 64 * 1024 * 1024

_ERROR_KEYS = frozenset({"error", "errors", "error_message", "error_description", "detail", "message", "fault"})
_MARKUP = re.compile(r"<(?:[a-z_]|!doctype|!--|\?xml)", re.IGNORECASE)
_HTML = re.compile(r"<(?:!doctype\s+html|html|head|body|title|center|h1)[\s>/]", re.IGNORECASE)
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")


def as_text(head: bytes) -> str | None:
    """Return ``head`` as text, or None when it is none; a character cut at its end is left out."""
    for cut in range(4):
        try:
            text = head[: len(head) - cut].decode("utf-8-sig")
        except UnicodeDecodeError:
            continue
        return None if _CONTROLS.search(text) else text
    return None


def walk_text(content: Content, head_text: str) -> Structure:
    """Tell which kind of text begins with ``head_text``, and whether it is whole where that can be told."""
    start = head_text.lstrip()
    if _MARKUP.match(start):
        return _markup(content, start)
    if start[:1] in {"{", "["}:
        return _json(content)
    return Structure("text/plain", "", end_certain=False)


def _markup(content: Content, start: str) -> Structure:
    if _HTML.search(start):
        return Structure("text/html", "", end_certain=False)
    if "<svg" not in start.lower():
        return Structure("application/xml", "", end_certain=False)
    tail = content.read(1024, max(0, content.size - 1024)).rstrip()
    if not tail.endswith(b">") or b"svg>" not in tail:
        raise BadMediaError("the svg is cut short", truncated=True)
    return Structure("image/svg+xml", "svg", end_certain=True)


def _json(content: Content) -> Structure:
    if content.size > JSON_BYTES_MAX:
        raise BadMediaError(f"JSON of more than {JSON_BYTES_MAX} bytes")
    try:
        orjson.loads(_whole(content))
    except orjson.JSONDecodeError:
        return Structure("text/plain", "", end_certain=False)
    return Structure("application/json", "json", end_certain=True)


def _whole(content: Content) -> bytes:
    return content.read(content.size, 0).removeprefix(b"\xef\xbb\xbf")


def is_error_object(content: Content) -> bool:
    """Tell whether JSON content reads like an error: an object that names one."""
    value = orjson.loads(_whole(content))
    return isinstance(value, dict) and not _ERROR_KEYS.isdisjoint(key.lower() for key in value)
