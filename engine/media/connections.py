"""Open the session that downloads use: no key, no cookies, no proxy, and no address that is not public.

The guard sits where the connection is made, below redirects and name resolution: the resolver drops addresses that
are not public, and the socket for any other is never created, whatever spelled it. Decides nothing itself:
``addresses.is_public`` does.
"""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

from engine.media.public_hosts import BlockedAddressError, is_public

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override  # aiohttp depends on it for these versions

if TYPE_CHECKING:
    from aiohappyeyeballs import AddrInfoType

# The buffer of one response pauses at twice this figure; a block to disk is filled by a few reads.
READ_BUFFER_BYTES = 256 * 1024
# Signed URLs in a Location header are long.
HEADER_BYTES_MAX = 32 * 1024
DNS_CACHE_S = 60


class GuardedResolver(AbstractResolver):
    """Hands out only those addresses of a name that are public."""

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        answers = await self._inner.resolve(host, port, family)
        public = [answer for answer in answers if is_public(answer["host"])]
        if answers and not public:
            raise BlockedAddressError(f"{host} has no public address")
        return public

    @override
    async def close(self) -> None:
        await self._inner.close()


def guarded_socket(address: AddrInfoType) -> socket.socket:
    """Create the socket for one address, or refuse to."""
    family, kind, protocol, _, target = address
    if not is_public(str(target[0])):
        raise BlockedAddressError(f"{target[0]} is not a public address")
    return socket.socket(family=family, type=kind, proto=protocol)


def open_session(
    *, allow_private_hosts: bool, resolver: AbstractResolver | None, connect_s_max: float
) -> aiohttp.ClientSession:
    """Return a session for output hosts; the caller closes it."""
    inner = resolver or DefaultResolver()
    connector = aiohttp.TCPConnector(
        limit=0,  # how many downloads run at once is the caller's decision
        resolver=inner if allow_private_hosts else GuardedResolver(inner),
        socket_factory=None if allow_private_hosts else guarded_socket,
        ttl_dns_cache=DNS_CACHE_S,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "*/*", "Accept-Encoding": "identity"},
        auto_decompress=False,
        trust_env=False,
        read_bufsize=READ_BUFFER_BYTES,
        max_field_size=HEADER_BYTES_MAX,
        # Slowness is judged by throughput while the body flows, so no total and no per-read limit here.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_s_max, sock_read=None),
    )
