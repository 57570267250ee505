"""Check every object that the ledger names: there, as long as it says, and byte for byte what was downloaded.

One listing tells the lengths of all, and what else of this run lies there; where a prefix holds more than can be listed
cheaply, each object is asked for by its name. The prefix may be shared: only names that jobs of this run could have
given are its orphans. Objects that are wrong are moved into ``set-aside/`` under the same prefix; nothing is removed.
"""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

from engine.audit.file_audit import SET_ASIDE
from engine.audit.findings import Finding, Kind
from engine.audit.set_aside import MOVED
from engine.config.sections import Storage
from engine.job.records import decode_json
from engine.media.names import media_name, stem_of
from engine.media.objects.publishing import digest
from engine.media.objects.store import ObjectStore, open_store
from engine.store_url import is_store_url, split_uri

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Coroutine, Iterable, Sequence
    from typing import Any

    from engine.audit.file_audit import NamedFile
    from engine.store_url import StoreUrl

LISTED_MAX = 100_000
"""Objects of one prefix that are listed: a hundred requests or so."""
AT_ONCE = 8

_Result = TypeVar("_Result")


class _Objects(NamedTuple):
    """What the ledger names under one prefix."""

    store: ObjectStore
    files: list[NamedFile]
    listed: dict[str, int] | None


def storage_of(facts: dict[str, Any]) -> Storage:
    """Return how the run's store is reached, from what the ledger keeps of the configuration."""
    whole = decode_json(facts["config"].encode()) if facts.get("config") else {}
    return msgspec.convert(whole.get("storage", {}), Storage)


def audit_objects(
    db: sqlite3.Connection,
    files: Sequence[NamedFile],
    storage: Storage,
    *,
    quick: bool,
    at_work: bool,
    on_checked: Callable[[int], None],
) -> list[Finding]:
    """Return what is wrong with objects.

    Args:
        db: the ledger.
        files: what it names in object stores.
        storage: how these are reached.
        quick: whether lengths are enough and nothing is read.
        at_work: whether a process works on the run now: then nothing is an orphan.
        on_checked: called with the length of each object when it was checked.

    Raises:
        StorageError: a store cannot be asked.
        UsageError: the library for it is not installed.
    """
    places = {split_uri(file.path)[0] for file in files}
    if storage.store is not None:
        places.add(storage.store)
    findings: list[Finding] = []
    for place in sorted(places):
        named = [file for file in files if split_uri(file.path)[0] == place]
        work = _audit_place(place, named, storage, quick=quick, on_checked=on_checked)
        found, listed = asyncio.run(work)
        findings += found
        if not at_work:
            findings += _orphans(db, place, named, listed or {})
    return findings


async def _audit_place(
    place: StoreUrl, files: list[NamedFile], storage: Storage, *, quick: bool, on_checked: Callable[[int], None]
) -> tuple[list[Finding], dict[str, int] | None]:
    store = open_store(place, storage)
    objects = _Objects(store, files, await store.sizes(objects_max=LISTED_MAX))
    owners: dict[str, NamedFile] = {}
    findings: list[Finding] = []

    async def check(file: NamedFile) -> tuple[Kind, str] | None:
        try:
            return await _check(objects, file, quick=quick)
        finally:
            on_checked(file.size_bytes)

    for file, checked in zip(files, await _each(check, files), strict=True):
        owner = owners.setdefault(file.path, file)
        doubled = (Kind.FILE_DOUBLED, f"it belongs to {owner.id!r} too")
        wrong = checked if owner is file else doubled
        if wrong is not None:
            findings.append(Finding(kind=wrong[0], subject=file.path, detail=wrong[1], job=file.job, id=file.id))
    return findings, objects.listed


async def _each(work: Callable[[NamedFile], Coroutine[Any, Any, _Result]], files: Sequence[NamedFile]) -> list[_Result]:
    """Do the same for every file, a few at a time, and return what came of each, in their order."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(file: NamedFile) -> _Result:
        async with room:
            return await work(file)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(file)) for file in files]
    except* Exception as errors:  # noqa: BLE001 (all ran into the same store; the first says it)
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def _check(objects: _Objects, file: NamedFile, *, quick: bool) -> tuple[Kind, str] | None:
    _, name = split_uri(file.path)
    if objects.listed is not None:
        size_bytes = objects.listed.get(name)
    else:
        facts = await objects.store.facts(name)
        size_bytes = None if facts is None else facts.size_bytes
    if size_bytes is None:
        return Kind.FILE_MISSING, "it is not there"
    if size_bytes != file.size_bytes:
        kind = Kind.FILE_TRUNCATED if size_bytes < file.size_bytes else Kind.FILE_ALTERED
        return kind, f"it has {size_bytes} bytes, {file.size_bytes} were stored"
    if quick:
        return None
    try:
        read = await digest(objects.store, name)
    except FileNotFoundError:
        return Kind.FILE_MISSING, "it is not there"
    return None if read == file.sha256.hex() else (Kind.FILE_ALTERED, "its bytes are not those that were stored")


def _orphans(
    db: sqlite3.Connection, place: StoreUrl, files: list[NamedFile], listed: dict[str, int]
) -> Iterable[Finding]:
    """Yield the objects that this run has put there and no job of it is said to have.

    What a job in flight had stored before a crash is not one of them: its next download adopts it.
    """
    known = {split_uri(file.path)[1] for file in files}
    unknown = {name: stem_of(name) for name in listed if name not in known}
    if not unknown:
        return
    ours, expected = _stems(db)
    for name, stem in sorted(unknown.items()):
        if stem in ours and stem not in expected:
            detail = "no job of this run is said to have it"
            yield Finding(kind=Kind.FILE_ORPHANED, subject=place.uri(name), detail=detail)


def _stems(db: sqlite3.Connection) -> tuple[set[str], set[str]]:
    """Return the stems that any attempt of this run could have given, and those that are still to come."""
    rows = db.execute(
        "SELECT id, request_id, coalesce(json_array_length(media, '$.urls'), 1),"
        " state = 'ready' AND attempt.attempt = job.attempts"
        " FROM attempt JOIN job USING (job) JOIN input USING (job)"
    )
    ours, expected = set[str](), set[str]()
    for id_, request_id, places, is_expected in rows:
        stems = {media_name(id_, request_id, place) for place in range(places)}
        ours |= stems
        if is_expected:
            expected |= stems
    return ours, expected


def set_aside_objects(findings: Iterable[Finding], storage: Storage) -> list[str]:
    """Move the objects that findings are about; return the URI of each as it is now.

    Raises:
        StorageError: a store cannot be asked, or does not let its objects be moved.
    """
    uris = [finding.subject for finding in findings if finding.kind in MOVED and is_store_url(finding.subject)]
    return asyncio.run(_set_aside(uris, storage)) if uris else []


async def _set_aside(uris: list[str], storage: Storage) -> list[str]:
    moved = []
    for uri in uris:
        place, name = split_uri(uri)
        store = open_store(place, storage)
        stem, dot, extension = name.rpartition(".")
        for number in count(1):
            target = f"{SET_ASIDE}/" + (name if number == 1 else f"{stem}-{number}{dot}{extension}")
            if await store.move(name, target):
                moved.append(place.uri(target))
                break
    return moved
