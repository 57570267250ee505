"""One place in an object store: what is put there, what is never overwritten, and what each refusal is called."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from engine.config import RunConfig
from engine.errors import ConfigError, UsageError
from engine.media.failures import StoreAwayError, StoreRefusedError
from engine.media.objects import store as store_module
from engine.media.objects.store import ObjectFacts, ObjectStore, open_store
from engine.store_url import parse_store_url
from tests.objects.conftest import opened
from tests.store_server import REGION, StoreServer, free_port

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

pytestmark = pytest.mark.sockets


def file_of(directory: Path, content: bytes) -> Path:
    path = directory / "clip.mp4"
    path.write_bytes(content)
    return path


def put(store: ObjectStore, name: str, file: Path) -> Coroutine[Any, Any, bool]:
    content = file.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    return store.put_new(name, file, size=len(content), sha256=sha256, content_type="video/mp4")


async def test_an_object_has_its_content_its_type_and_its_digest(
    store: ObjectStore, server: StoreServer, bucket: str, tmp_path: Path
) -> None:
    file = file_of(tmp_path, b"whole")
    assert await put(store, "clip.mp4", file)
    assert server.objects(bucket) == {"nights/one/clip.mp4": b"whole"}
    assert await store.facts("clip.mp4") == ObjectFacts(5, hashlib.sha256(b"whole").hexdigest())
    with server.client() as client:
        assert client.head_object(Bucket=bucket, Key="nights/one/clip.mp4")["ContentType"] == "video/mp4"


@pytest.mark.parametrize("conditional", [True, False])
async def test_an_object_is_never_overwritten(store: ObjectStore, tmp_path: Path, *, conditional: bool) -> None:
    store._conditional = conditional
    assert await put(store, "clip.mp4", file_of(tmp_path, b"first"))
    assert not await put(store, "clip.mp4", file_of(tmp_path, b"second"))
    assert [block async for block in store.read("clip.mp4")] == [b"first"]


async def test_a_long_file_goes_in_parts_and_overwrites_nothing(
    store: ObjectStore, server: StoreServer, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "SINGLE_BYTES_MAX", 2**20)
    monkeypatch.setattr(store_module, "PART_BYTES", 5 * 2**20)
    content = bytes(range(256)) * (6 * 2**12)
    assert await put(store, "long.mp4", file_of(tmp_path, content))
    assert not await put(store, "long.mp4", file_of(tmp_path, content + b"x"))
    assert server.objects(bucket) == {"nights/one/long.mp4": content}
    assert await store.facts("long.mp4") == ObjectFacts(len(content), hashlib.sha256(content).hexdigest())
    with server.client() as client:
        assert client.head_object(Bucket=bucket, Key="nights/one/long.mp4")["ETag"].endswith('-2"')


async def test_the_probe_finds_conditions_and_leaves_nothing(
    store: ObjectStore, server: StoreServer, bucket: str
) -> None:
    await store.probe()
    assert store._conditional
    assert server.objects(bucket) == {}


async def test_a_listing_tells_lengths_of_this_prefix_alone(
    store: ObjectStore, server: StoreServer, bucket: str, tmp_path: Path
) -> None:
    await put(store, "a.mp4", file_of(tmp_path, b"four"))
    await put(opened(server, f"s3://{bucket}/nights/one/deeper"), "b.mp4", file_of(tmp_path, b"b"))
    await put(opened(server, f"s3://{bucket}/nights/one-more"), "c.mp4", file_of(tmp_path, b"c"))
    assert await store.sizes(objects_max=10) == {"a.mp4": 4}
    assert await store.sizes(objects_max=1) is None


async def test_a_moved_object_keeps_its_content_and_never_replaces_another(
    store: ObjectStore, server: StoreServer, bucket: str, tmp_path: Path
) -> None:
    await put(store, "a.mp4", file_of(tmp_path, b"a"))
    assert await store.move("a.mp4", "set-aside/a.mp4")
    await put(store, "a.mp4", file_of(tmp_path, b"new"))
    assert not await store.move("a.mp4", "set-aside/a.mp4")
    assert server.objects(bucket) == {"nights/one/a.mp4": b"new", "nights/one/set-aside/a.mp4": b"a"}


async def test_no_such_bucket_is_said_in_a_sentence(server: StoreServer) -> None:
    with pytest.raises(StoreRefusedError, match=r"^s3://nowhere/x has no such bucket$") as refused:
        await opened(server, "s3://nowhere/x").probe()
    assert "storage.root" in refused.value.hint


async def test_a_store_that_is_not_there_is_away(bucket: str) -> None:
    root = f"s3://{bucket}/x"
    settings = [f"storage.root={root}", f"storage.endpoint_url=http://127.0.0.1:{free_port()}"]
    gone = open_store(parse_store_url(root), RunConfig.load(None, settings).storage)
    with pytest.raises(StoreAwayError, match="does not answer"):
        await gone.probe()


async def test_without_credentials_the_places_to_put_them_are_named(
    server: StoreServer, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreRefusedError, match="needs credentials, and none were found") as refused:
        await opened(server, f"s3://{bucket}/x").probe()
    assert "AWS_ACCESS_KEY_ID" in refused.value.hint


async def test_denied_access_and_an_unknown_key_are_told_apart(
    server: StoreServer, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server.client("iam") as iam:
        iam.create_user(UserName=bucket)
        key = iam.create_access_key(UserName=bucket)["AccessKey"]
    server.enforce_rights(enforced=True)
    try:
        with pytest.raises(StoreRefusedError, match=r"does not know these credentials \(InvalidAccessKeyId\)"):
            await opened(server, f"s3://{bucket}/x").probe()
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        with pytest.raises(StoreRefusedError, match=r"denies access \(AccessDenied\)") as refused:
            await opened(server, f"s3://{bucket}/x").probe()
        assert key["SecretAccessKey"] not in str(refused.value) + refused.value.hint
    finally:
        server.enforce_rights(enforced=False)


@pytest.mark.parametrize(
    ("root", "setting"),
    [
        ("gs://bucket/x", "endpoint_url=https://example.com"),
        ("s3://bucket/x", "account=nights"),
        ("az://bucket/x", f"region={REGION}"),
        ("az://bucket/x", "endpoint_url=http://example.com"),
    ],
)
def test_a_key_without_meaning_for_the_store_is_refused(root: str, setting: str) -> None:
    config = RunConfig.load(None, [f"storage.root={root}", f"storage.{setting}"])
    with pytest.raises(ConfigError, match=f"storage.{setting.partition('=')[0]}"):
        open_store(parse_store_url(root), config.storage)


def test_without_the_library_its_installation_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    with pytest.raises(UsageError, match="obstore") as missing:
        open_store(parse_store_url("s3://bucket/x"), RunConfig().storage)
    assert "pip install 'media-batch-engine[objects]'" in missing.value.hint
