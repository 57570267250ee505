"""Walk RIFF files: webp, wav, avi.

A RIFF file is one or more chunks that hold chunks; each has four letters and a 32-bit length and is padded to an
even number of bytes. Writers that stream leave the lengths at 0 or all ones: such a file cannot show its end.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from engine.media.content import BadMediaError, Structure

if TYPE_CHECKING:
    from engine.media.content import Content

FORMS = {b"WEBP": ("image/webp", "webp"), b"WAVE": ("audio/wav", "wav"), b"AVI ": ("video/x-msvideo", "avi")}
CHUNKS_MAX = 10_000
# RF64 and files written to a pipe say "unknown" like this.
_UNKNOWN_LENGTHS = frozenset({0, 0xFFFFFFFF})
_HEADER_BYTES = 8
_FIRST_CHUNK_OFFSET = 12


def is_riff(head: bytes) -> bool:
    """Tell whether ``head`` begins a RIFF file of a form we know."""
    return head[:4] in {b"RIFF", b"RF64"} and head[8:12] in FORMS


def walk_riff(content: Content) -> Structure:
    """Compare the length the file says it has with the one it has, and look for its sound or picture."""
    magic, length, form = struct.unpack("<4sI4s", content.read(_FIRST_CHUNK_OFFSET, 0))
    content_type, check = FORMS[form]
    streamed = magic == b"RF64" or length in _UNKNOWN_LENGTHS
    if not streamed and length + _HEADER_BYTES > content.size:
        raise BadMediaError(f"the {check} ends after {content.size} of {length + _HEADER_BYTES} bytes", truncated=True)
    kinds = _chunk_kinds(content, streamed=streamed, check=check)
    if form == b"WEBP" and not kinds & {b"VP8 ", b"VP8L", b"VP8X"}:
        raise BadMediaError("the webp holds no picture")
    if form == b"WAVE" and not {b"fmt ", b"data"} <= kinds:
        raise BadMediaError("the wav holds no sound", truncated=streamed)
    return Structure(content_type, check, end_certain=not streamed)


def _chunk_kinds(content: Content, *, streamed: bool, check: str) -> set[bytes]:
    kinds: set[bytes] = set()
    offset = _FIRST_CHUNK_OFFSET
    for _ in range(CHUNKS_MAX):
        header = content.read(_HEADER_BYTES, offset)
        if len(header) < _HEADER_BYTES:
            return kinds
        kind, length = struct.unpack("<4sI", header)
        kinds.add(kind)
        if streamed and length in _UNKNOWN_LENGTHS:
            return kinds
        offset += _HEADER_BYTES + length
        if offset > content.size:
            raise BadMediaError(f"the {check} ends inside chunk {kind.decode('latin-1')!r}", truncated=True)
        offset += length % 2
    raise BadMediaError(f"more than {CHUNKS_MAX} chunks in the {check}")
