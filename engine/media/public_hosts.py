"""Decide which hosts a download may speak to.

An output URL is text from outside: followed blindly, it makes this machine ask its own neighbours (cloud
metadata, routers, databases) on a stranger's behalf. So only globally routed unicast addresses are allowed,
and of IPv6 none that carries an IPv4 address inside. Pure: resolves nothing, opens nothing.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yarl import URL

SCHEMES = frozenset({"http", "https"})

# Spelled out, because what ``ipaddress.is_global`` means changed between patch releases of Python.
_REFUSED_IPV4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network, unspecified
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, cloud metadata
        "168.63.129.16/32",  # looks public, is the host of a virtual machine at Azure
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
# Mapped (::ffff:0:0/96), NAT64 (64:ff9b::/96), unique local, link-local and multicast all lie outside.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_REFUSED_IPV6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments; Teredo (2001::/32) carries an IPv4 address
        "2001:db8::/32",
        "2002::/16",  # 6to4 carries an IPv4 address
        "3fff::/20",
    )
)
# An ISATAP interface identifier carries an IPv4 address behind any prefix.
_ISATAP_MARKS = frozenset({0x00005EFE, 0x02005EFE})


class BlockedAddressError(OSError):
    """The host is not a public address; an ``OSError``, so that the connector treats it as a failed connection."""


def is_public(address: str | IPv4Address | IPv6Address) -> bool:
    """Tell whether ``address`` is a globally routed unicast address with no other address hidden in it."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return not any(parsed in network for network in _REFUSED_IPV4)
    if parsed.scope_id is not None or parsed not in _GLOBAL_UNICAST:
        return False
    carries_ipv4 = (int(parsed) >> 32) & 0xFFFFFFFF in _ISATAP_MARKS
    return not carries_ipv4 and not any(parsed in network for network in _REFUSED_IPV6)


def literal_address(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that ``host`` spells, also oddly (``2130706433``, ``0x7f.1``, ``0177.0.0.1``), or None."""
    bare = host.removeprefix("[").removesuffix("]").rstrip(".")
    try:
        return ip_address(bare)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(bare))  # what the C library would make of it, without asking anyone
    except (OSError, ValueError):
        return None


def refusal(url: URL, *, allow_private_hosts: bool) -> str | None:
    """Say why ``url`` must not be asked, or return None; names are judged later, when they are resolved."""
    if url.scheme not in SCHEMES:
        return f"the scheme {url.scheme!r} is not http or https"
    if not url.raw_host:
        return "the URL has no host"
    if allow_private_hosts:
        return None
    for host in (url.raw_host, url.host or ""):
        address = literal_address(host)
        if address is not None and not is_public(address):
            return f"{host} is not a public address"
    return None


def redirect_refusal(source: URL, target: URL, *, allow_private_hosts: bool) -> str | None:
    """Say why a redirect from ``source`` to ``target`` must not be followed, or return None."""
    if source.scheme == "https" and target.scheme == "http":
        return "a redirect leads from https to http"
    return refusal(target, allow_private_hosts=allow_private_hosts)
