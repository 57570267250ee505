"""Which hosts a download may speak to: decided on values, nothing is connected."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from engine.media.public_hosts import is_public, literal_address, redirect_refusal, refusal

PUBLIC = ["1.1.1.1", "8.8.8.8", "104.18.0.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001::1"]
REFUSED = {
    "unspecified": "0.0.0.0",
    "this network": "0.1.2.3",
    "private 10": "10.0.0.1",
    "private 172.16": "172.31.255.255",
    "private 192.168": "192.168.1.1",
    "cgnat": "100.64.0.1",
    "loopback": "127.8.9.1",
    "link-local, metadata": "169.254.169.254",
    "azure's host": "168.63.129.16",
    "multicast": "224.0.0.1",
    "reserved": "250.1.2.3",
    "broadcast": "255.255.255.255",
    "documentation": "203.0.113.7",
    "benchmark": "198.19.0.1",
    "6to4 relay": "192.88.99.1",
    "unspecified 6": "::",
    "loopback 6": "::1",
    "mapped": "::ffff:8.8.8.8",
    "mapped private": "::ffff:10.0.0.1",
    "compatible": "::8.8.8.8",
    "nat64": "64:ff9b::808:808",
    "nat64 local": "64:ff9b:1::1",
    "6to4": "2002:808:808::1",
    "teredo": "2001:0:808:808::1",
    "documentation 6": "2001:db8::1",
    "unique local": "fd00:ec2::254",
    "link-local 6": "fe80::1",
    "scoped": "fe80::1%eth0",
    "site-local": "fec0::1",
    "multicast 6": "ff02::1",
    "isatap": "2606:4700::5efe:a00:1",
    "no address": "example",
}


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("kind", REFUSED)
def test_private_loopback_link_local_mapped_nat64_address_refused(kind: str) -> None:
    assert not is_public(REFUSED[kind])


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_never_public_where_python_calls_it_private(address: IPv4Address) -> None:
    if address.is_private or address.is_multicast or address.is_reserved or address.is_loopback:
        assert not is_public(address)


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_is_public_only_inside_global_unicast(address: IPv6Address) -> None:
    if is_public(address):
        assert int(address) >> 125 == 1
        assert address.ipv4_mapped is None
        assert address.sixtofour is None
        assert address.teredo is None


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "127.0.0.1.", "017700000001", "127.0.0.1"]
)
def test_odd_spellings_of_an_address_are_seen_through(host: str) -> None:
    assert literal_address(host) == IPv4Address("127.0.0.1")
    assert refusal(URL(f"http://{host}/a", encoded=True), allow_private_hosts=False)


@pytest.mark.parametrize(
    "url", ["http://[::ffff:127.0.0.1]/", "http://[::1]:80/a", "http://①②⑦.⓪.⓪.①/", "http://10.0.0.1"]
)
def test_a_literal_private_address_in_a_url_is_refused(url: str) -> None:
    assert refusal(URL(url), allow_private_hosts=False)


@pytest.mark.parametrize(
    "url", ["ftp://host.example/a", "file:///etc/passwd", "gopher://host.example", "/a", "data:,x"]
)
@pytest.mark.parametrize("allow", [True, False])
def test_another_scheme_is_refused_even_where_private_hosts_are_allowed(url: str, allow: bool) -> None:  # noqa: FBT001
    assert refusal(URL(url), allow_private_hosts=allow)


def test_private_hosts_are_allowed_when_configured() -> None:
    assert refusal(URL("http://127.0.0.1:9/a"), allow_private_hosts=True) is None


def test_a_name_is_judged_only_when_it_is_resolved() -> None:
    assert refusal(URL("https://images.example/a.mp4"), allow_private_hosts=False) is None
    assert literal_address("images.example") is None


def test_a_redirect_from_https_to_http_is_refused() -> None:
    secure, plain = URL("https://a.example/x"), URL("http://a.example/x")
    assert redirect_refusal(secure, plain, allow_private_hosts=True)
    assert redirect_refusal(plain, secure, allow_private_hosts=False) is None
    assert redirect_refusal(secure, URL("https://b.example/"), allow_private_hosts=False) is None


@given(st.text(max_size=40))
def test_any_host_text_is_judged_without_an_error(host: str) -> None:
    address = literal_address(host)
    assert address is None or isinstance(address, IPv4Address | IPv6Address)
