"""Names of media files: safe on every file system, the same on every run, different for every output.

The readable half is a slug of the job's id, the hash half keeps two ids apart whose slugs are equal. An extension
follows from what a file contains, never from a URL.
"""

from __future__ import annotations

import hashlib
import re

SLUG_CHARS_MAX = 60
HASH_CHARS = 12
NAME_CHARS_MAX = 128

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
# Windows takes these for devices, also with anything behind a dot: "con.mp4", "nul.tar".
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9]|conin|conout|clock)(\..*)?")

_EXTENSIONS = {
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/3gpp": ".3gp",
    "video/webm": ".webm",
    "video/x-matroska": ".mkv",
    "video/x-msvideo": ".avi",
    "audio/mp4": ".m4a",
    "audio/mpeg": ".mp3",
    "audio/wav": ".wav",
    "audio/aac": ".aac",
    "audio/flac": ".flac",
    "audio/ogg": ".ogg",
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "image/avif": ".avif",
    "image/heic": ".heic",
    "image/svg+xml": ".svg",
    "model/gltf-binary": ".glb",
    "application/json": ".json",
    "application/xml": ".xml",
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "text/html": ".html",
    "text/plain": ".txt",
}
FALLBACK_EXTENSION = ".bin"


def media_name(job_id: str, request_id: str | None, index: int) -> str:
    """Return the stem of the file for output number ``index`` of a request: ``clip-001-3f9c12ab34cd``."""
    # Each part is preceded by its length, so that no two triples are hashed as the same bytes.
    parts = [part.encode("utf-8", "surrogatepass") for part in (job_id, request_id or "", str(index))]
    key = b"".join(b"%d:%b" % (len(part), part) for part in parts)
    return f"{slug(job_id)}-{hashlib.sha256(key).hexdigest()[:HASH_CHARS]}"


def stem_of(file_name: str) -> str:
    """Return the stem that a file was named from: without its extension, and without the number of a taken name.

    A stem may have dots of its own, from the job's id; it ends in a hash, which is longer than any number behind it.
    """
    stem = file_name.rpartition(".")[0]
    before, dash, number = stem.rpartition("-")
    return before if dash and number.isascii() and number.isdigit() and len(number) < HASH_CHARS else stem


def slug(text: str) -> str:
    """Return the part of ``text`` that is safe in a file name; never empty, hidden, an option or a device."""
    cut = _UNSAFE.sub("-", text[: SLUG_CHARS_MAX * 4]).lstrip(".-")[:SLUG_CHARS_MAX].rstrip(".-")
    if not cut:
        return "job"
    return f"_{cut}"[:SLUG_CHARS_MAX] if _DEVICES.fullmatch(cut) else cut


def is_safe_name(name: str) -> bool:
    """Tell whether ``name`` can stand in a path as it is."""
    return len(name) <= NAME_CHARS_MAX and _SAFE_NAME.fullmatch(name) is not None


def safe_extension(content_type_found: str) -> str:
    """Return the extension for a media type that was found in the content, with its dot."""
    return _EXTENSIONS.get(content_type_found, FALLBACK_EXTENSION)
