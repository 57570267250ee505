"""Walk the top of a Matroska file: webm, mkv.

The elements of EBML carry their length in a number of variable size; all ones mean "unknown", which live writers
leave behind: such a file cannot show its end. The lengths are only compared with the size of the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.media.content import BadMediaError, Structure

if TYPE_CHECKING:
    from engine.media.content import Content

MAGIC = b"\x1aE\xdf\xa3"
SEGMENT = b"\x18S\x80g"
DOCTYPE = b"\x42\x82"
ELEMENTS_MAX = 1_000
_HEADER_BYTES_MAX = 12
_ID_BYTES_MAX = 4
_DOCTYPE_BYTES_MAX = 4096


def vint(raw: bytes, *, keep_marker: bool) -> tuple[int, int] | None:
    """Read a number of variable size from the beginning of ``raw``: its value and its length in bytes.

    An unknown value (all ones) is -1; a number that is not one, or is cut, is None.
    """
    if not raw or raw[0] == 0:
        return None
    length = 9 - raw[0].bit_length()
    if len(raw) < length:
        return None
    value = int.from_bytes(raw[:length])
    if keep_marker:
        return value, length
    value -= 1 << (7 * length)
    return (-1 if value == (1 << (7 * length)) - 1 else value), length


def walk_matroska(content: Content) -> Structure:
    """Follow the elements at the top; the segment must be there and the last element must end the file."""
    offset, found, end_certain = 0, False, True
    for _ in range(ELEMENTS_MAX):
        if offset == content.size:
            break
        kind, offset, end = _element_at(content, offset)
        found = found or kind == SEGMENT
        if end < 0:
            end_certain = False
            break
        offset = end
    else:
        raise BadMediaError(f"more than {ELEMENTS_MAX} elements at the top of the file")
    if not found:
        raise BadMediaError("the webm has no segment", truncated=True)
    content_type = _content_type(content)
    return Structure(content_type, content_type.removeprefix("video/x-").removeprefix("video/"), end_certain)


def _element_at(content: Content, offset: int) -> tuple[bytes, int, int]:
    """Return the kind of an element, where its content begins and where it ends (-1: unknown)."""
    raw = content.read(_HEADER_BYTES_MAX, offset)
    kind = vint(raw, keep_marker=True)
    size = vint(raw[kind[1] :], keep_marker=False) if kind and kind[1] <= _ID_BYTES_MAX else None
    if kind is None or size is None:
        raise BadMediaError(f"no element at byte {offset}", truncated=len(raw) < _HEADER_BYTES_MAX)
    start = offset + kind[1] + size[1]
    if size[0] < 0:
        return raw[: kind[1]], start, -1
    if start + size[0] > content.size:
        raise BadMediaError(f"the webm ends after {content.size} of {start + size[0]} bytes", truncated=True)
    return raw[: kind[1]], start, start + size[0]


def _content_type(content: Content) -> str:
    """Read the document type out of the EBML header."""
    _, start, end = _element_at(content, 0)
    header = content.read(min(max(0, end - start), _DOCTYPE_BYTES_MAX), start)
    place = header.find(DOCTYPE)
    word = header[place + 3 : place + 3 + 8] if place >= 0 else b""
    return "video/webm" if word.startswith(b"webm") else "video/x-matroska"
