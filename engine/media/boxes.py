"""Walk the boxes of an ISO base media file (mp4, mov, m4a, 3gp, avif, heic).

Such a file is a chain of boxes, each a 32-bit length and four letters; a file cut short anywhere, or with anything
appended, no longer fills up exactly. Every length comes from outside: it must cover its own header, end inside the
file, and the number of boxes has a cap, so that no file makes the walk loop or read without end.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.media.content import BadMediaError, Structure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.media.content import Content

# The letters of a box are printable, save the copyright sign Apple begins some with.
_LETTERS = re.compile(rb"[\x20-\x7e\xa9]{4}")

BOXES_MAX = 200_000
HEADER_BYTES = 8
LONG_HEADER_BYTES = 16

_FIRST_BOXES = frozenset({b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
_BRANDS = {
    b"qt  ": ("video/quicktime", "mov"),
    b"M4A ": ("audio/mp4", "m4a"),
    b"M4B ": ("audio/mp4", "m4a"),
    b"avif": ("image/avif", "avif"),
    b"avis": ("image/avif", "avif"),
    b"heic": ("image/heic", "heic"),
    b"heix": ("image/heic", "heic"),
    b"mif1": ("image/heic", "heic"),
}
_STILL_BRANDS = frozenset({b"avif", b"heic", b"heix", b"mif1"})


@dataclass(frozen=True, slots=True)
class Box:
    """One box: its four letters, where it begins and ends, and whether its length was only "to the end"."""

    kind: bytes
    start: int
    end: int
    open_ended: bool


def is_iso_media(head: bytes) -> bool:
    """Tell whether a file that begins with ``head`` can be a chain of boxes."""
    return head[4:8] in _FIRST_BOXES


def iter_boxes(content: Content, *, boxes_max: int = BOXES_MAX) -> Iterator[Box]:
    """Yield the boxes at the top of the file; together they fill it exactly.

    Raises:
        BadMediaError: a length is impossible, or the file ends inside a box.
    """
    offset, size = 0, content.size
    for _ in range(boxes_max):
        if offset == size:
            return
        box = _box_at(content, offset, size)
        yield box
        offset = box.end
    if offset != size:
        raise BadMediaError(f"more than {boxes_max} boxes")


def _box_at(content: Content, offset: int, size: int) -> Box:
    header = content.read(LONG_HEADER_BYTES, offset)
    if len(header) < HEADER_BYTES:
        raise BadMediaError(f"{len(header)} bytes after the last box", truncated=True)
    length, kind = struct.unpack_from(">I4s", header)
    if not _LETTERS.fullmatch(kind):
        raise BadMediaError(f"no box at byte {offset}")
    if length == 0:
        return Box(kind, offset, size, open_ended=True)
    header_bytes = HEADER_BYTES
    if length == 1:
        header_bytes = LONG_HEADER_BYTES
        if len(header) < LONG_HEADER_BYTES:
            raise BadMediaError("the file ends inside the header of a box", truncated=True)
        (length,) = struct.unpack_from(">Q", header, HEADER_BYTES)
    if length < header_bytes:
        raise BadMediaError(f"box {kind.decode('latin-1')!r} at byte {offset} is shorter than its header")
    if length > size - offset:
        raise BadMediaError(
            f"the file ends inside box {kind.decode('latin-1')!r}: {size - offset} of {length} bytes", truncated=True
        )
    return Box(kind, offset, offset + length, open_ended=False)


def walk_iso_media(content: Content) -> Structure:
    """Verify the chain of boxes and that the parts a player needs are there."""
    kinds: set[bytes] = set()
    last: Box | None = None
    for box in iter_boxes(content):
        kinds.add(box.kind)
        last = box
    brand = content.read(4, 8) if b"ftyp" in kinds and content.read(4, 4) == b"ftyp" else b"qt  "
    content_type, check = _BRANDS.get(brand, ("video/3gpp", "mp4") if brand[:2] == b"3g" else ("video/mp4", "mp4"))
    needed = {b"meta"} if brand in _STILL_BRANDS else {b"moov", b"mdat"}
    if missing := needed - kinds:
        names = " and ".join(sorted(kind.decode() for kind in missing))
        raise BadMediaError(f"the boxes {names} are missing", truncated=True)
    # A fragmented file can be cut between two fragments, a still picture behind its index, and a box "to the end"
    # anywhere: the walk would not see it.
    marked = b"mdat" in kinds and (b"moof" not in kinds or b"mfra" in kinds)
    return Structure(content_type, check, end_certain=marked and last is not None and not last.open_ended)
