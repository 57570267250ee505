"""Look at a local file before anything is paid for it: is it there, whole, of the right kind, small enough?

A file is looked at again only when its size or its time of change differs. Blocks: to be called in a thread.
"""

from __future__ import annotations

import hashlib
import mimetypes
from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from engine.media.verify import BadMediaError, Promise, inspect

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FACTS_KEPT_MAX = 16_384
MEDIA = ("image", "audio", "video")
_OPAQUE = "application/octet-stream"
# Containers that are called films even when they hold nothing but sound.
_MAY_BE_SOUND = frozenset({"video/mp4", "video/webm", "video/x-matroska", "video/quicktime"})
_MIB = 1024 * 1024


class InputFileError(Exception):
    """A local file cannot be an input; the text is the end of a sentence that begins with its name."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a local file is.

    Attributes:
        path: where it is.
        bytes: how long it is.
        content_type: the media type that its content says it is.
    """

    path: Path
    bytes: int
    content_type: str


@dataclass(frozen=True, slots=True)
class FileContent:
    """The whole of a local file, as it was when it was read."""

    content: bytes
    content_type: str

    def data_uri(self) -> str:
        """Return the file as a URL that holds it (RFC 2397). Blocks."""
        return f"data:{self.content_type};base64,{b64encode(self.content).decode('ascii')}"


class Inspector:
    """Looks at local files.

    Args:
        bytes_max: a larger file is refused.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._content_type = lru_cache(maxsize=FACTS_KEPT_MAX)(_content_type)
        self._digest = lru_cache(maxsize=FACTS_KEPT_MAX)(_digest)

    def facts(self, path: Path, accepts: Sequence[str] = ()) -> FileFacts:
        """Return what the file is.

        Args:
            path: of the file.
            accepts: the classes of media that it may be; empty for any of them. Nothing else can be an input, lest a
                job line make the engine give away a text or a key of this machine.

        Raises:
            InputFileError: it cannot be an input.
        """
        size_bytes, changed_ns = self._state(path)
        try:
            content_type = self._content_type(path, size_bytes, changed_ns)
        except BadMediaError as error:
            raise InputFileError(f"cannot be used: {error.reason}") from error
        except OSError as error:
            raise _unreadable(error) from error
        if not _is_one_of(content_type, accepts or MEDIA):
            raise InputFileError(f"is {content_type}, but {' or '.join(accepts or MEDIA)} is asked for")
        return FileFacts(path, size_bytes, content_type)

    def sha256(self, path: Path) -> bytes:
        """Return the digest of the file's content.

        Raises:
            InputFileError: it cannot be read.
        """
        try:
            return self._digest(path, *self._state(path))
        except OSError as error:
            raise _unreadable(error) from error

    def content(self, path: Path, accepts: Sequence[str] = ()) -> FileContent:
        """Return the whole file.

        Raises:
            InputFileError: as ``facts``.
        """
        facts = self.facts(path, accepts)
        try:
            with path.open("rb") as file:
                content = file.read(self._bytes_max + 1)
        except OSError as error:
            raise _unreadable(error) from error
        self._require_size(len(content))
        return FileContent(content, facts.content_type)

    def _state(self, path: Path) -> tuple[int, int]:
        try:
            state = path.stat()
        except OSError as error:
            raise _unreadable(error) from error
        if not path.is_file():
            raise InputFileError("is a directory" if path.is_dir() else "is no regular file")
        self._require_size(state.st_size)
        return state.st_size, state.st_mtime_ns

    def _require_size(self, size_bytes: int) -> None:
        if not size_bytes:
            raise InputFileError("is empty")
        if size_bytes > self._bytes_max:
            mib, most_mib = size_bytes / _MIB, self._bytes_max / _MIB
            raise InputFileError(f"has {mib:,.1f} MiB, and the provider takes at most {most_mib:,.1f} MiB")


def _content_type(path: Path, _size_bytes: int, _changed_ns: int) -> str:
    # A link is the user's own way to name a file; only what it leads to is looked at.
    found = inspect(path.resolve(), Promise(url_suffix=path.suffix.lower().removeprefix("."))).content_type
    # Kinds without a magic of theirs here (.bmp, .tiff) are what their name says.
    return (mimetypes.guess_type(path.name)[0] or found) if found == _OPAQUE else found


def _is_one_of(content_type: str, accepts: Sequence[str]) -> bool:
    return content_type.partition("/")[0] in accepts or ("audio" in accepts and content_type in _MAY_BE_SOUND)


def _digest(path: Path, _size_bytes: int, _changed_ns: int) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _unreadable(error: OSError) -> InputFileError:
    if isinstance(error, FileNotFoundError):
        return InputFileError("does not exist")
    return InputFileError(f"cannot be read ({error.strerror})")
