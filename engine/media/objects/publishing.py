"""Give a verified file its final name in an object store, without overwriting anything: ``placing``, far away.

An object of that name with the very same bytes is adopted: it is what a killed run had stored already. Any other object
stays as it is, and the next free number is taken.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from engine.errors import StorageError
from engine.media.failures import StoreAwayError
from engine.media.placing import NAMES_MAX

if TYPE_CHECKING:
    from pathlib import Path

    from engine.job.records import StoredFile
    from engine.media.objects.store import ObjectStore


async def publish(store: ObjectStore, file: Path, record: StoredFile, *, stem: str, names_max: int = NAMES_MAX) -> str:
    """Store a whole file under ``stem`` and its own extension, look at what has arrived, and return its name.

    Raises:
        StoreAwayError: the store cannot be reached, or does not show what it took.
        StorageError: it will not have the file, no name is free, or the file cannot be read.
    """
    for number in range(1, names_max + 1):
        name = f"{stem}{file.suffix}" if number == 1 else f"{stem}-{number}{file.suffix}"
        new = await store.put_new(name, file, size=record.bytes, sha256=record.sha256, content_type=record.content_type)
        if not new and not await _is_equal(store, name, record):
            continue
        await _require_length(store, name, record.bytes)
        return name
    raise StorageError(
        f"{names_max} objects named {stem}{file.suffix} or numbered like it are in {store.url}",
        hint="move them away, then run the same command again",
    )


async def _is_equal(store: ObjectStore, name: str, record: StoredFile) -> bool:
    """Tell whether an object has the bytes of ``record``: by what was stored with it, else by reading it."""
    facts = await store.facts(name)
    if facts is None or facts.size_bytes != record.bytes:
        return False
    return (facts.sha256 or await digest(store, name)) == record.sha256


async def _require_length(store: ObjectStore, name: str, size_bytes: int) -> None:
    facts = await store.facts(name)
    if facts is None or facts.size_bytes != size_bytes:
        shown = "nothing" if facts is None else f"{facts.size_bytes} bytes"
        raise StoreAwayError(f"{store.url.uri(name)} is to have {size_bytes} bytes, and the store shows {shown}")


async def digest(store: ObjectStore, name: str) -> str:
    """Return the sha256 of an object's content, in lowercase hex.

    Raises:
        FileNotFoundError: there is no such object.
    """
    found = hashlib.sha256()
    async for block in store.read(name):
        found.update(block)
    return found.hexdigest()
