"""Recognise sound without a container of lengths: mp3, aac, flac, ogg.

Only ogg marks its end. For the others the beginning is verified, and the caller is told that the end is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.media.content import BadMediaError, Structure

if TYPE_CHECKING:
    from engine.media.content import Content

# MPEG layer III, kbit/s by index: version 1, and versions 2 and 2.5.
_KBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}

ID3_HEADER_BYTES = 10
OGG_PAGE_BYTES_MAX = 65_307
_OGG_HEADER_BYTES = 27
_OGG_LAST_PAGE = 4


def is_mp3(head: bytes) -> bool:
    """Tell whether ``head`` begins with a tag or with a frame of MPEG layer III."""
    return head[:3] == b"ID3" or mp3_frame_bytes(head[:4]) > 0


def is_aac(head: bytes) -> bool:
    """Tell whether ``head`` begins with an ADTS frame."""
    return len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0  # noqa: PLR2004 (the sync word)


def mp3_frame_bytes(header: bytes) -> int:
    """Return the length of the frame that begins with ``header``, or 0 when there is none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:  # noqa: PLR2004 (sync word, layer III)
        return 0
    version = header[1] >> 3 & 3
    bitrate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or bitrate in {0, 15} or rate == 3:  # noqa: PLR2004 (reserved values)
        return 0
    kbits = (_KBITS_1 if version == 3 else _KBITS_2)[bitrate]  # noqa: PLR2004 (version 1 is written 3)
    samples = 144 if version == 3 else 72  # noqa: PLR2004
    return samples * 1000 * kbits // _SAMPLE_RATES[version][rate] + padding


def walk_mp3(content: Content) -> Structure:
    """Skip the tag and require two frames in a row."""
    offset = _id3_bytes(content.read(ID3_HEADER_BYTES, 0))
    for number in range(2):
        header = content.read(4, offset)
        length = mp3_frame_bytes(header)
        if not header or (length and offset + length > content.size):
            raise BadMediaError(f"the mp3 ends before frame {number + 1} does", truncated=True)
        if not length:
            raise BadMediaError(f"the mp3 has no frame at byte {offset}")
        offset += length
        if offset == content.size:
            break
    return Structure("audio/mpeg", "mp3", end_certain=False)


def _id3_bytes(header: bytes) -> int:
    if header[:3] != b"ID3" or len(header) < ID3_HEADER_BYTES:
        return 0
    size = 0
    for byte in header[6:10]:
        size = size << 7 | byte & 0x7F
    footer = ID3_HEADER_BYTES if header[5] & 0x10 else 0
    return ID3_HEADER_BYTES + size + footer


def walk_aac(_content: Content) -> Structure:
    """Say what it is; the frames have no end."""
    return Structure("audio/aac", "", end_certain=False)


def walk_flac(_content: Content) -> Structure:
    """Say what it is; the frames have no end."""
    return Structure("audio/flac", "", end_certain=False)


def walk_ogg(content: Content) -> Structure:
    """Require a last page that says it is the last and ends the file."""
    start = max(0, content.size - OGG_PAGE_BYTES_MAX)
    tail = content.read(OGG_PAGE_BYTES_MAX, start)
    page = tail[tail.rfind(b"OggS") :]
    segments = page[26] if len(page) >= _OGG_HEADER_BYTES else 0
    whole = len(page) == _OGG_HEADER_BYTES + segments + sum(page[_OGG_HEADER_BYTES : _OGG_HEADER_BYTES + segments])
    if not whole or not page[5] & _OGG_LAST_PAGE:
        raise BadMediaError("the ogg has no last page", truncated=True)
    return Structure("audio/ogg", "ogg", end_certain=True)
