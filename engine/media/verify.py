"""Decide whether a file is whole, and what it is: the content tells, never the URL.

The magic at the beginning chooses a walk, the walk follows the structure to the end. What was promised (the
provider's word, the server's header, the ending of the URL) only decides whether text or unknown bytes can be
accepted. Knows nothing of the network; also serves files that were stored long ago.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.media import audio, boxes, images, matroska, prose, riff
from engine.media.content import BadMediaError, BytesContent, Content, FileContent, Structure
from engine.media.names import safe_extension

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = [
    "BadMediaError",
    "BytesContent",
    "Content",
    "FileContent",
    "MediaFacts",
    "Promise",
    "inspect",
    "inspect_content",
]

HEAD_BYTES = 4096
GLTF_MAGIC = b"glTF"

_MEDIA_CLASSES = frozenset({"video", "audio", "image"})
_OPAQUE_TYPES = frozenset({"application/octet-stream", "binary/octet-stream", ""})
_TEXT_TYPES = frozenset({"application/json", "application/xml", "application/x-ndjson", "application/x-subrip"})
_MEDIA_SUFFIXES = frozenset(
    {"mp4", "m4v", "mov", "webm", "mkv", "avi", "mp3", "wav", "m4a", "ogg", "png", "jpg", "jpeg", "webp", "gif"}
)
# Types whose magic we know: bytes that do not begin like one of them cannot be one.
_RECOGNISED_TYPES = frozenset(
    {"video/mp4", "video/x-m4v", "video/quicktime", "video/3gpp", "video/webm", "video/x-matroska", "video/x-msvideo"}
    | {"audio/mp4", "audio/x-m4a", "audio/m4a", "audio/mpeg", "audio/mp3", "audio/wav", "audio/x-wav", "audio/wave"}
    | {"audio/vnd.wave", "audio/aac", "audio/flac", "audio/x-flac", "audio/ogg", "audio/opus", "audio/webm"}
    | {"image/png", "image/jpeg", "image/jpg", "image/gif", "image/webp", "image/avif", "image/heic"}
    | {"image/svg+xml", "model/gltf-binary"}
)
# Kinds that are neither picture, sound nor film, and never text.
_BINARY_TYPES = frozenset({"model/gltf-binary", "application/pdf", "application/zip"})
# What a video may turn out to be although its own class says image.
_ANIMATIONS = frozenset({"image/gif", "image/webp", "image/avif"})


@dataclass(frozen=True, slots=True)
class Promise:
    """What others said a file would be; each may be missing or wrong.

    Attributes:
        provider_type: the media type in the provider's result.
        server_type: the ``Content-Type`` of the host that served the file.
        url_suffix: what stands behind the last dot of the URL's path.
        encoded: whether the host says that the bytes are compressed for transport.
    """

    provider_type: str | None = None
    server_type: str | None = None
    url_suffix: str = ""
    encoded: bool = False

    @property
    def word(self) -> str:
        """Return the most trusted media type, without parameters; empty when nobody named a telling one."""
        for claimed in (self.provider_type, self.server_type):
            word = (claimed or "").partition(";")[0].strip().lower()
            if word not in _OPAQUE_TYPES:
                return word
        return ""

    @property
    def media(self) -> bool:
        """Tell whether a picture, sound or film was promised; an error page's own header promises nothing."""
        word = Promise(self.provider_type).word
        if word:
            return word.partition("/")[0] in _MEDIA_CLASSES
        return self.url_suffix in _MEDIA_SUFFIXES

    @property
    def text(self) -> bool:
        """Tell whether the provider promised text."""
        word = Promise(self.provider_type).word
        if word.partition("/")[0] in _MEDIA_CLASSES:
            return False
        return word.startswith("text/") or word in _TEXT_TYPES or word.endswith(("+json", "+xml"))


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What a file was found to be.

    Attributes:
        content_type: the media type found, or the promised one where the content tells nothing.
        extension: for the file's name, with its dot.
        checks: what the structure has proved, for the record; may be empty.
        end_certain: whether a file cut short anywhere would have been refused.
    """

    content_type: str
    extension: str
    checks: tuple[str, ...]
    end_certain: bool


def inspect(path: Path, promise: Promise | None = None) -> MediaFacts:
    """Verify the file at ``path``; a symbolic link or anything that is no regular file is refused.

    Raises:
        BadMediaError: the file is not whole, or not what was promised.
        OSError: the file cannot be read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise BadMediaError("it is not a regular file")
        return inspect_content(FileContent(fd), promise)
    finally:
        os.close(fd)


def inspect_content(content: Content, promise: Promise | None = None) -> MediaFacts:
    """Verify bytes that can be read at any place.

    Raises:
        BadMediaError: they are not whole, or not what was promised.
    """
    promise = promise or Promise()
    if content.size == 0:
        raise BadMediaError("0 bytes", truncated=True)
    head = content.read(HEAD_BYTES, 0)
    walk = walk_for(head)
    if walk is not None:
        structure = walk(content)
        _require_class(structure.content_type, promise)
    else:
        text = prose.as_text(head)
        structure = _opaque(head, promise) if text is None else _text(content, text, promise)
    checks = (structure.check,) if structure.check else ()
    return MediaFacts(structure.content_type, safe_extension(structure.content_type), checks, structure.end_certain)


def walk_for(head: bytes) -> Callable[[Content], Structure] | None:
    """Choose the walk for a file that begins with ``head``, or None when no magic is known."""
    for recognises, walk in _WALKS:
        if recognises(head):
            return walk
    return None


def _require_class(found: str, promise: Promise) -> None:
    """Refuse a still picture where a film or sound was promised, and the other way round."""
    promised = Promise(promise.provider_type).word.partition("/")[0]
    if promised not in _MEDIA_CLASSES or found in _ANIMATIONS:
        return
    if (found.partition("/")[0] == "image") != (promised == "image"):
        raise BadMediaError(f"it is {found} where {promise.provider_type} was promised")


def _text(content: Content, head_text: str, promise: Promise) -> Structure:
    structure = prose.walk_text(content, head_text)
    found = structure.content_type
    if found == "image/svg+xml" and Promise(promise.provider_type).word.partition("/")[0] in {"image", ""}:
        return structure
    if promise.text:
        if "json" in promise.word and "ndjson" not in promise.word and found != "application/json":
            raise BadMediaError("the JSON is broken or cut short", truncated=True)
        return structure
    if promise.media or Promise(promise.provider_type).word in _BINARY_TYPES:
        raise BadMediaError(f"it is text ({found}), not media")
    if found in {"text/html", "application/xml"}:
        raise BadMediaError(f"it is a page ({found}), not a file")
    if found == "application/json" and prose.is_error_object(content):
        raise BadMediaError("it is an error in JSON, not a file")
    return structure


def _opaque(head: bytes, promise: Promise) -> Structure:
    """Accept bytes of a kind we cannot read only where no kind that we can read was promised."""
    word = promise.word
    if promise.encoded:
        raise BadMediaError("it is compressed for transport although we asked for the file itself")
    if word in _RECOGNISED_TYPES or promise.text or (not word and promise.media):
        raise BadMediaError(f"its first bytes are not those of {word or 'a .' + promise.url_suffix}")
    if not head.strip(b"\x00"):
        raise BadMediaError("it begins with nothing but zeros")
    return Structure(word or "application/octet-stream", "", end_certain=False)


def _walk_glb(content: Content) -> Structure:
    """Compare the length in the header of a binary glTF with the file's."""
    if int.from_bytes(content.read(4, 8), "little") != content.size:
        raise BadMediaError("the glb is not as long as it says", truncated=True)
    return Structure("model/gltf-binary", "glb", end_certain=True)


_WALKS: tuple[tuple[Callable[[bytes], bool], Callable[[Content], Structure]], ...] = (
    (boxes.is_iso_media, boxes.walk_iso_media),
    (lambda head: head.startswith(images.PNG_MAGIC), images.walk_png),
    (lambda head: head.startswith(images.JPEG_MAGIC), images.walk_jpeg),
    (lambda head: head.startswith(images.GIF_MAGICS), images.walk_gif),
    (riff.is_riff, riff.walk_riff),
    (lambda head: head.startswith(matroska.MAGIC), matroska.walk_matroska),
    (lambda head: head.startswith(b"OggS"), audio.walk_ogg),
    (lambda head: head.startswith(b"fLaC"), audio.walk_flac),
    (lambda head: head.startswith(GLTF_MAGIC), _walk_glb),
    (audio.is_mp3, audio.walk_mp3),
    (audio.is_aac, audio.walk_aac),
)
