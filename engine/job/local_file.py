"""How a job line names a file of this machine, where a URL could stand: ``./face.png``, ``file:face.png``.

Relative names start from the directory of the input. Pure: knows nothing of whether the file exists.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

PATH_BYTES_MAX = 4096
SCHEME = "file:"
_BEGINNINGS = ("./", "../", "/", "~/")
_THIS_HOST = frozenset({"", "localhost"})


def is_local_file(value: object) -> bool:
    """Tell whether a value that may be a URL names a local file."""
    return isinstance(value, str) and value.startswith((*_BEGINNINGS, SCHEME)) and not value.startswith("//")


def local_path(value: str, directory: Path) -> Path:
    """Return the absolute path of a local file.

    Args:
        value: as in the job line; behind ``file://`` it is a URL and its percent-escapes count (RFC 8089), behind
            ``file:`` alone and without a scheme it is the plain name.
        directory: where relative names start.

    Raises:
        ValueError: it names no path of this machine; the text says why, as the end of a sentence.
    """
    if value.startswith(SCHEME + "//"):
        parts = urlsplit(value)
        if parts.netloc.lower() not in _THIS_HOST:
            raise ValueError(f"names the machine {parts.netloc!r}; a file of this one is written file:///path")
        name = unquote(parts.path)
    else:
        name = value.removeprefix(SCHEME)
    if not name or "\0" in name or len(os.fsencode(name)) > PATH_BYTES_MAX:
        raise ValueError("names no file")
    try:
        return directory.absolute() / Path(name).expanduser()
    except RuntimeError:
        raise ValueError("begins with ~ and a user whom this machine does not know") from None
