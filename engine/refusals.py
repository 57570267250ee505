"""What a person can do about a refusal of the operating system. Pure."""

from __future__ import annotations

import errno

_DENIED = "give yourself the right to it (ls -l shows whose it is), or name another place"
_DEEDS = {
    errno.ENOENT: "create the directory that it lies in, or name another place",
    errno.ENOTDIR: "name another place: a file stands where a directory would have to",
    errno.EISDIR: "name a file: a directory stands there",
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: "name a place on a disk that can be written to",
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there: your quota is used up",
    errno.EMFILE: "let more files be open at once (ulimit -n)",
    errno.EIO: "look whether the disk is sound (dmesg, smartctl), or name a place on another",
}


def refusal_hint(error: OSError) -> str:
    """Return what can be done about a refusal, as a sentence without its end."""
    return _DEEDS.get(error.errno or 0, "name another place for it")
