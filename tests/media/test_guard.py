"""The guard at the socket, with an injected resolver: no address but loopback is ever connected."""

from __future__ import annotations

import socket
import sys
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from engine.media.connections import GuardedResolver, guarded_socket
from engine.media.downloader import DownloadTask
from engine.media.failures import DownloadError
from engine.media.public_hosts import BlockedAddressError

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

pytestmark = pytest.mark.sockets


class Names(AbstractResolver):
    """Answers every name with the same addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    @override
    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[ResolveResult]:
        self.asked.append(host)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in self.addresses
        ]

    @override
    async def close(self) -> None:
        self.addresses = ()


async def fails(kit: Any, url: str, **settings: Any) -> DownloadError:
    downloader = await kit.downloader(allow_private_hosts=False, **settings)
    with pytest.raises(DownloadError) as caught:
        await downloader.fetch(DownloadTask(url, "a-3f9c12ab34cd"))
    assert kit.names() == []
    error: DownloadError = caught.value
    return error


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"])
async def test_a_name_of_a_private_address_is_refused(kit: Any, address: str) -> None:
    host = await kit.host(kit.answer(kit.mp4()))
    error = await fails(kit, f"http://media.example:{host.port}/a.mp4", resolver=Names(address))
    assert error.kind == "blocked_address"
    assert host.asked == []


@pytest.mark.parametrize(
    "host_text", ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]"]
)
async def test_a_literal_private_address_is_refused_before_any_name_is_resolved(kit: Any, host_text: str) -> None:
    names = Names("127.0.0.1")
    error = await fails(kit, f"http://{host_text}:9/a.mp4", resolver=names)
    assert error.kind == "blocked_address"
    assert names.asked == []


@pytest.mark.parametrize(
    "url", ["ftp://media.example/a", "file:///etc/passwd", "", "http://", "http://a b/", "http://h/\r\nx: y", "a.mp4"]
)
async def test_another_scheme_or_no_url_at_all_is_refused(kit: Any, url: str) -> None:
    assert (await fails(kit, url)).kind == "blocked_address"


async def test_a_redirect_to_a_private_address_is_refused_at_the_hop(kit: Any) -> None:
    inner = await kit.host(kit.answer(kit.mp4()))
    host = await kit.host(kit.answer(status=302, headers={"Location": f"http://127.0.0.2:{inner.port}/a.mp4"}))
    downloader = await kit.downloader(allow_private_hosts=True, resolver=Names("127.0.0.1"))
    # The first hop is let through by hand; the second is judged as it would be in production.
    downloader._transfer._allow_private_hosts = False
    with pytest.raises(DownloadError) as caught:
        await downloader.fetch(DownloadTask(f"http://media.example:{host.port}/a.mp4", "a-3f9c12ab34cd"))
    assert caught.value.kind == "blocked_address"
    assert len(host.asked) == 1
    assert inner.asked == []


async def test_the_resolver_hands_out_public_addresses_only() -> None:
    guarded = GuardedResolver(Names("10.0.0.1", "1.1.1.1", "::ffff:1.2.3.4"))
    assert [answer["host"] for answer in await guarded.resolve("media.example")] == ["1.1.1.1"]
    with pytest.raises(BlockedAddressError):
        await GuardedResolver(Names("10.0.0.1")).resolve("media.example")
    assert await GuardedResolver(Names()).resolve("media.example") == []
    await guarded.close()


def test_no_socket_is_made_for_a_private_address() -> None:
    with pytest.raises(BlockedAddressError):
        guarded_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80)))
    with pytest.raises(BlockedAddressError):
        guarded_socket((socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("64:ff9b::808:808", 80, 0, 0)))
    guarded_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("1.1.1.1", 80))).close()


async def test_the_guard_at_the_socket_holds_by_itself(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.media.transfer.refusal", lambda *_args, **_kwargs: None)
    host = await kit.host(kit.answer(kit.mp4()))
    error = await fails(kit, host.url(), tries_max=1)
    assert error.kind == "blocked_address"
    assert host.asked == []
