"""Take apart a ``data:`` URI: an output that came inside the result instead of at an address.

Pure. The length is known before anything is decoded, so that a cap holds.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from engine.media.content import BadMediaError

if TYPE_CHECKING:
    from collections.abc import Collection

HEADER_CHARS_MAX = 256

_HEADER = re.compile(r"data:([A-Za-z0-9.+/_-]*)((?:;[^,;]*)*),", re.ASCII | re.IGNORECASE)


def is_data_uri(url: str) -> bool:
    """Tell whether ``url`` carries its content itself."""
    return url[:5].lower() == "data:"


def header(url: str) -> str:
    """Return the part before the content: short, and enough to say where a file came from."""
    return url[:HEADER_CHARS_MAX].partition(",")[0] + ","


def is_spent(url: str) -> bool:
    """Tell whether ``url`` is the head of a ``data:`` URI alone: its content was given up, or never was there."""
    return is_data_uri(url) and url == header(url)


def without_contents(value: Any, urls: Collection[str]) -> Any:
    """Return JSON with the head alone of each ``data:`` URI that is among ``urls``, the files of a result."""
    match value:
        case str():
            return header(value) if value in urls and is_data_uri(value) else value
        case list():
            return [without_contents(item, urls) for item in value]
        case dict():
            return {key: without_contents(item, urls) for key, item in value.items()}
        case _:
            return value


def bytes_upper_bound(url: str) -> int:
    """Return a length that the content does not exceed."""
    content_chars = len(url) - len(header(url))
    return content_chars * 3 // 4 + 3 if ";base64," in header(url).lower() else content_chars


def decode(url: str) -> tuple[str, bytes]:
    """Return the media type a data URI names (may be empty) and its content.

    Raises:
        BadMediaError: it is not a data URI, or its base64 is broken.
    """
    match = _HEADER.match(url, 0, HEADER_CHARS_MAX)
    if match is None:
        raise BadMediaError("the data URI has no header")
    content = url[match.end() :]
    try:
        raw = unquote_to_bytes(content) if "%" in content else content.encode("ascii")
        if match[2].lower().endswith(";base64"):
            raw = base64.b64decode(b"".join(raw.split()), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise BadMediaError("the content of the data URI is broken") from error
    return match[1].lower(), raw
