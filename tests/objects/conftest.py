"""A real S3-compatible server, a bucket for each test, and what a run needs to find them."""

from __future__ import annotations

import asyncio
import gc
import secrets
from typing import TYPE_CHECKING

import obstore
import pytest
from obstore.store import MemoryStore

from engine.config import RunConfig
from engine.media.objects.store import ObjectStore, open_store
from engine.store_url import parse_store_url
from tests.conftest import _open_files
from tests.store_server import ENVIRONMENT, StoreServer, store_server
from tests.waiting import wait_in_thread_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server() -> Iterator[StoreServer]:
    with store_server() as running:
        yield running


@pytest.fixture(scope="session", autouse=True)
def _the_library_is_warm() -> None:
    """Let the library start its threads before the first test counts what is open."""

    async def ask() -> None:
        await obstore.put_async(MemoryStore(), "x", b"x")

    asyncio.run(ask())


@pytest.fixture(autouse=True)
def _the_environment_has_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@pytest.fixture(autouse=True)
def _connections_are_closed() -> Iterator[None]:
    """Wait for the library's threads: they let go of a forgotten client and of a file a moment later.

    What they let go of without the interpreter's lock, it forgets only in its next call.
    """
    before = _open_files()
    yield

    def closed() -> bool:
        obstore.put(MemoryStore(), "x", b"x")
        gc.collect()
        return not _open_files().keys() - before.keys()

    wait_in_thread_until(closed, description="the connections to the store are closed")


@pytest.fixture
def bucket(server: StoreServer) -> str:
    name = f"media-{secrets.token_hex(4)}"
    server.make_bucket(name)
    return name


@pytest.fixture
def store(server: StoreServer, bucket: str) -> ObjectStore:
    return opened(server, f"s3://{bucket}/nights/one")


def opened(server: StoreServer, root: str) -> ObjectStore:
    """Open the store at ``root``; nobody is asked yet."""
    storage = RunConfig.load(None, server.settings(root)).storage
    return open_store(parse_store_url(root), storage)
