"""Random access to the bytes of one file, and the error of a file that is not what it must be.

The format walks read a few headers out of files of any size; they never load one whole. Knows no format.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol


class BadMediaError(Exception):
    """The content is not a whole file of its kind.

    Attributes:
        reason: a clause that names what is wrong.
        truncated: whether it looks like the beginning of a good file, so that the rest may still come.
    """

    def __init__(self, reason: str, *, truncated: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.truncated = truncated


class Content(Protocol):
    """Bytes that can be read at any place."""

    @property
    def size(self) -> int:
        """Return the number of bytes there are."""
        ...

    def read(self, length: int, offset: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``; fewer only at the end."""
        ...


class FileContent:
    """The content of an open file; its place in the file is neither used nor moved."""

    __slots__ = ("_fd", "size")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = os.fstat(fd).st_size

    def read(self, length: int, offset: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``."""
        return os.pread(self._fd, length, offset)


class BytesContent:
    """Bytes in memory."""

    __slots__ = ("_bytes", "size")

    def __init__(self, content: bytes) -> None:
        self._bytes = content
        self.size = len(content)

    def read(self, length: int, offset: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``."""
        return self._bytes[offset : offset + length]


@dataclass(frozen=True, slots=True)
class Structure:
    """What the walk through a file has shown.

    Attributes:
        content_type: the media type its content says it is.
        check: the one word for the record, for example ``mp4``; empty when nothing but the kind is known.
        end_certain: whether a file cut short anywhere would have failed this walk.
    """

    content_type: str
    check: str
    end_certain: bool
