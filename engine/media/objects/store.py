"""A place in an object store: put, look, read, list and move objects. The only file that speaks to the library.

The library (obstore, an extra) signs, retries, and sends in parts; what it raises leaves here as ``StorageError``. An
object appears whole or not at all. Where the store has conditions, a new object never replaces another; a store that
ignores them is found out by ``probe``, and is asked before each write. Knows nothing of jobs and of media.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import secrets
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from engine.errors import ConfigError, UsageError
from engine.loopback import LOOPBACK
from engine.media.failures import StoreRefusedError
from engine.media.objects.answers import overdue, store_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from obstore.store import ObjectStore as Client

    from engine.config.sections import Storage
    from engine.store_url import StoreUrl

MIB = 1024 * 1024
SINGLE_BYTES_MAX = 256 * MIB
"""A longer file is sent in parts, which no store takes under a condition: its name is asked for first."""
PART_BYTES = 64 * MIB
PARTS_AT_ONCE = 2
ANSWER_S_MAX = 30.0
FLOOR_BYTES_PER_S = 64 * 1024
"""A request that is slower than this, beyond the time for an answer, is given up."""
SHA256 = "sha256"
"""The name of the metadata that holds the digest."""
PROBE = ".engine-probe-"
PROBE_CONTENT = b"written by engine to see whether it can; safe to remove"

_CONNECT_S_MAX = 5
_REQUEST_H_MAX = 24
_RETRIES_MAX = 2
_RETRY_S_MAX = 20


class ObjectFacts(NamedTuple):
    """What a store says of an object.

    Attributes:
        size_bytes: its length.
        sha256: the digest that was stored with it; empty if none was.
    """

    size_bytes: int
    sha256: str


def open_store(url: StoreUrl, settings: Storage) -> ObjectStore:
    """Return the store that a configuration means; asks nobody yet.

    Raises:
        UsageError: the library is not installed, or a key has no meaning for this kind of store.
        StoreRefusedError: credentials are named that cannot be read.
    """
    _require_library()
    _check_settings(url, settings)
    from obstore.exceptions import BaseError  # noqa: PLC0415 (an extra)

    try:
        return ObjectStore(url, _client(url, settings))
    except (BaseError, ValueError, OSError) as error:
        raise store_error(error, url) from error


class ObjectStore:
    """The objects under one prefix of one bucket; names hold no slash, but for those that ``move`` gives.

    Attributes:
        url: where it is.
    """

    def __init__(self, url: StoreUrl, client: Client) -> None:
        self.url = url
        self._client = client
        self._conditional = True

    async def probe(self) -> None:
        """Write a small object, look at it and remove it, and learn whether the store keeps conditions.

        Raises:
            StoreAwayError: it cannot be reached.
            StoreRefusedError: it will not have our objects, or does not keep what is said with them.
        """
        name, size = PROBE + secrets.token_hex(6), len(PROBE_CONTENT)
        if not await self._put(name, PROBE_CONTENT, size=size, sha256=SHA256, content_type="text/plain"):
            raise StoreRefusedError(
                f"{self.url} says of a new object that it exists", hint="check storage.endpoint_url"
            )
        found = await self.facts(name)
        self._conditional = not await self._put(
            name, PROBE_CONTENT, size=size, sha256=SHA256, content_type="text/plain"
        )
        # Who may write but not remove can still store media; the object's name says what it is.
        with suppress(StoreRefusedError):
            await self.remove(name)
        if found is None or found.size_bytes != size:
            raise StoreRefusedError(f"{self.url} does not show what it took", hint="check storage.endpoint_url")

    async def put_new(self, name: str, file: Path, *, size: int, sha256: str, content_type: str) -> bool:
        """Store a file under a new name; False if there is an object of that name, which then stays as it is.

        Cancelled, it leaves no object, or the whole.

        Raises:
            StoreAwayError: it cannot be reached; the object may be there all the same.
            StoreRefusedError: it will not have it.
            OSError: the file cannot be read.
        """
        single = size <= SINGLE_BYTES_MAX
        if not (single and self._conditional) and await self.facts(name) is not None:
            return False
        if not single or not size:
            return await self._put(name, file, size=size, sha256=sha256, content_type=content_type)
        with file.open("rb") as opened:
            # The pages of the file itself are sent, so that a request holds no memory of its own.
            content = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        return await self._put(name, content, size=size, sha256=sha256, content_type=content_type)

    async def facts(self, name: str) -> ObjectFacts | None:
        """Return what the store says of an object; None if there is none of that name."""
        import obstore  # noqa: PLC0415 (an extra)

        try:
            async with self._asking():
                answer = await obstore.get_async(self._client, name, options={"head": True})
        except FileNotFoundError:
            return None
        return ObjectFacts(answer.meta["size"], answer.attributes.get(SHA256, ""))

    async def read(self, name: str, *, block_bytes: int = MIB) -> AsyncIterator[bytes]:
        """Yield the content of an object in blocks.

        Raises:
            FileNotFoundError: there is none of that name.
            StoreAwayError: it cannot be reached.
            StoreRefusedError: it may not be read.
        """
        import obstore  # noqa: PLC0415 (an extra)

        async with self._asking():
            answer = await obstore.get_async(self._client, name)
        blocks = answer.stream(min_chunk_size=block_bytes)
        while True:
            async with self._asking():
                try:
                    block = await anext(blocks)
                except StopAsyncIteration:
                    return
            yield bytes(block)

    async def sizes(self, *, objects_max: int) -> dict[str, int] | None:
        """Return the length of every object directly under the prefix; None if there are more than ``objects_max``."""
        import obstore  # noqa: PLC0415 (an extra)

        found: dict[str, int] = {}
        listed, listing = 0, obstore.list(self._client)
        while True:
            async with self._asking():
                try:
                    chunk = await anext(listing)
                except StopAsyncIteration:
                    return found
            listed += len(chunk)
            if listed > objects_max:
                return None
            found |= {entry["path"]: entry["size"] for entry in chunk if "/" not in entry["path"]}

    async def move(self, name: str, target: str) -> bool:
        """Give an object another name, which nothing has yet; False if something has it. The content is not sent."""
        import obstore  # noqa: PLC0415 (an extra)

        if await self.facts(target) is not None:
            return False
        async with self._asking():
            await obstore.copy_async(self._client, name, target)
        await self.remove(name)
        return True

    async def remove(self, name: str) -> None:
        """Remove an object; one that is gone already is no error."""
        import obstore  # noqa: PLC0415 (an extra)

        with suppress(FileNotFoundError):
            async with self._asking():
                await obstore.delete_async(self._client, name)

    async def _put(
        self, name: str, content: bytes | mmap.mmap | Path, *, size: int, sha256: str, content_type: str
    ) -> bool:
        import obstore  # noqa: PLC0415 (an extra)
        from obstore.exceptions import AlreadyExistsError, PreconditionError  # noqa: PLC0415 (an extra)

        in_parts = isinstance(content, Path) and size > SINGLE_BYTES_MAX
        try:
            async with self._asking(bytes_more=size):
                await obstore.put_async(
                    self._client,
                    name,
                    content,
                    attributes={"Content-Type": content_type, SHA256: sha256},
                    mode="overwrite" if in_parts or not self._conditional else "create",
                    use_multipart=in_parts,
                    chunk_size=PART_BYTES,
                    max_concurrency=PARTS_AT_ONCE,
                )
        except (AlreadyExistsError, PreconditionError):
            return False
        except FileNotFoundError as error:
            raise store_error(error, self.url) from error  # a bucket that is not there
        return True

    @asynccontextmanager
    async def _asking(self, *, bytes_more: int = 0) -> AsyncIterator[None]:
        """Bound the time of a request, and translate its errors but for those that say whether an object is there."""
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError  # noqa: PLC0415 (an extra)

        try:
            async with asyncio.timeout(ANSWER_S_MAX + bytes_more / FLOOR_BYTES_PER_S):
                yield
        except (AlreadyExistsError, PreconditionError):
            raise
        except TimeoutError as error:
            raise overdue(self.url) from error
        except BaseError as error:
            raise store_error(error, self.url) from error


def _require_library() -> None:
    try:
        import obstore.store  # noqa: F401, PLC0415 (an extra)
    except ImportError as error:
        raise UsageError(
            f"an object store is reached through obstore, which cannot be loaded ({error})",
            hint="install it: pip install 'media-batch-engine[objects]'; or name a directory in storage.root",
        ) from error


def _check_settings(url: StoreUrl, settings: Storage) -> None:
    """Refuse keys that another kind of store has: whoever set them expects something of them."""
    meant = {"s3": {"endpoint_url", "region", "path_style"}, "gs": set[str](), "az": {"endpoint_url", "account"}}
    for name in ("endpoint_url", "region", "path_style", "account"):
        if getattr(settings, name) is not None and name not in meant[url.scheme]:
            raise ConfigError(f"storage.{name} has no meaning for {url}", hint=f"remove storage.{name}")
    endpoint = urlsplit(settings.endpoint_url or "")
    if url.scheme == "az" and endpoint.scheme == "http" and endpoint.hostname not in LOOPBACK:
        # Signatures of s3 give nothing away; tokens of Azure do.
        raise ConfigError(
            f"storage.endpoint_url must be https for an az container: over http to {endpoint.hostname} a token would"
            " cross the network in clear text",
            hint="use https",
        )


def _client(url: StoreUrl, settings: Storage) -> Client:
    """Return the library's client; what is None in the settings is left to the environment."""
    from obstore.store import AzureStore, GCSStore, S3Store  # noqa: PLC0415 (an extra)

    common: dict[str, Any] = {
        "prefix": url.prefix or None,
        "client_options": {
            "connect_timeout": timedelta(seconds=_CONNECT_S_MAX),
            # Bounded for each request by its length instead.
            "timeout": timedelta(hours=_REQUEST_H_MAX),
            "allow_http": (settings.endpoint_url or "").startswith("http://"),
        },
        "retry_config": {"max_retries": _RETRIES_MAX, "retry_timeout": timedelta(seconds=_RETRY_S_MAX)},
    }
    chosen: dict[str, Any] = {"endpoint": settings.endpoint_url}
    match url.scheme:
        case "s3":
            chosen["region"] = settings.region
            chosen["virtual_hosted_style_request"] = None if settings.path_style is None else not settings.path_style
            chosen["credential_provider"] = _profile()
            return S3Store(url.bucket, **common, **_given(chosen))
        case "gs":
            return GCSStore(url.bucket, **common)
        case _:
            chosen["account_name"] = settings.account
            return AzureStore(url.bucket, **common, **_given(chosen))


def _given(chosen: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in chosen.items() if value is not None}


def _profile() -> Any:
    """Return who reads the profiles of the AWS tools, which the library does not; None if nothing asks for them.

    Only where the environment holds no key of its own, and boto3 happens to be installed.
    """
    files = (os.environ.get("AWS_SHARED_CREDENTIALS_FILE"), "~/.aws/credentials", "~/.aws/config")
    has_profile = "AWS_PROFILE" in os.environ or any(name and Path(name).expanduser().is_file() for name in files)
    if "AWS_ACCESS_KEY_ID" in os.environ or not has_profile:
        return None
    try:
        return import_module("obstore.auth.boto3").Boto3CredentialProvider()
    except ImportError:
        return None
