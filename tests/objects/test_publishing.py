"""A file gets its name in a store as it does on a disk: an equal object is adopted, another is left alone."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from engine.errors import StorageError
from engine.job.records import StoredFile
from engine.media.failures import StoreAwayError
from engine.media.objects.publishing import digest, publish

if TYPE_CHECKING:
    from pathlib import Path

    from engine.media.objects.store import ObjectStore
    from tests.store_server import StoreServer

pytestmark = pytest.mark.sockets


def scratch(directory: Path, content: bytes) -> tuple[Path, StoredFile]:
    path = directory / "clip-0123456789ab.mp4"
    path.write_bytes(content)
    record = StoredFile(
        path=f"media/{path.name}",
        url="https://example.com/clip",
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        content_type="video/mp4",
        checks=("mp4",),
    )
    return path, record


async def published(store: ObjectStore, directory: Path, content: bytes, *, names_max: int = 10) -> str:
    path, record = scratch(directory, content)
    return await publish(store, path, record, stem=path.stem, names_max=names_max)


async def test_an_equal_object_is_adopted(store: ObjectStore, server: StoreServer, bucket: str, tmp_path: Path) -> None:
    assert await published(store, tmp_path, b"same") == "clip-0123456789ab.mp4"
    assert await published(store, tmp_path, b"same") == "clip-0123456789ab.mp4"
    assert len(server.objects(bucket)) == 1


async def test_an_object_of_somebody_else_is_read_before_it_is_adopted(
    store: ObjectStore, server: StoreServer, bucket: str, tmp_path: Path
) -> None:
    with server.client() as client:
        client.put_object(Bucket=bucket, Key="nights/one/clip-0123456789ab.mp4", Body=b"same")
    assert await published(store, tmp_path, b"same") == "clip-0123456789ab.mp4"
    assert await published(store, tmp_path, b"SAME") == "clip-0123456789ab-2.mp4"


async def test_another_content_takes_the_next_number_and_changes_nothing(
    store: ObjectStore, server: StoreServer, bucket: str, tmp_path: Path
) -> None:
    names = [await published(store, tmp_path, content) for content in (b"one", b"two", b"three")]
    assert names == ["clip-0123456789ab.mp4", "clip-0123456789ab-2.mp4", "clip-0123456789ab-3.mp4"]
    assert list(server.objects(bucket).values()) == [b"two", b"three", b"one"]
    with pytest.raises(StorageError, match=r"^3 objects named clip-0123456789ab\.mp4"):
        await published(store, tmp_path, b"four", names_max=3)


async def test_an_object_that_does_not_show_its_length_is_not_published(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(name: str) -> None:
        return None

    monkeypatch.setattr(store, "facts", nothing)
    with pytest.raises(StoreAwayError, match="is to have 4 bytes, and the store shows nothing"):
        await published(store, tmp_path, b"four")


async def test_a_digest_is_that_of_the_content(store: ObjectStore, tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    name = await published(store, tmp_path, content)
    assert await digest(store, name) == hashlib.sha256(content).hexdigest()
