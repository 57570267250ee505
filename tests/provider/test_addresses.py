"""Where a request is asked about: the provider's own addresses, and nobody else's, because the key goes along."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.provider.addresses import address, content_address, is_trusted, named_addresses
from engine.provider.description import load_description
from engine.provider.protocol import Request

BFL = load_description("bfl")
FAL = load_description("fal")
SEGMIND = load_description("segmind")
BASE = "https://api.bfl.ai"


@pytest.mark.parametrize(
    "url",
    [
        "https://api.bfl.ai/v1/get_result?id=a",
        "https://api.us1.bfl.ai/v1/get_result?id=a",
        "https://api.bfl.ai:443/poll/a",
    ],
)
def test_an_address_of_the_provider_is_used_as_it_came(url: str) -> None:
    assert address(BFL, BASE, "status", Request("a", "m", {"status": url})) == url


@pytest.mark.parametrize(
    "url",
    [
        "https://bfl.ai.example.com/poll",
        "https://evilbfl.ai/poll",
        "https://bfl.ai@example.com/poll",
        "https://user:word@api.bfl.ai/poll",
        "http://api.us1.bfl.ai/poll",
        "https://api.us1.bfl.ai:8443/poll",
        "http://api.bfl.ai/poll",
        "http://169.254.169.254/latest",
        "//api.bfl.ai/poll",
        "/poll/a",
        "file:///etc/passwd",
        "https://",
        "https://[::1",
        "",
    ],
)
def test_an_address_of_somebody_else_is_not_used(url: str) -> None:
    assert not is_trusted(url, BASE, BFL)
    assert address(BFL, BASE, "status", Request("a", "m", {"status": url})) == f"{BASE}/v1/get_result?id=a"


def test_the_file_itself_is_at_an_address_of_the_provider_alone() -> None:
    result = replace(BFL.result, bytes=True, path="/jobs/{id}/content", url_from="content", outputs=())
    described = replace(BFL, result=result)
    theirs, elsewhere = "https://api.us1.bfl.ai/c/a", "https://cdn.example.com/c/a"
    assert content_address(described, BASE, Request("a", "m", {"result": theirs})) == theirs
    assert content_address(described, BASE, Request("a", "m", {"result": elsewhere})) == f"{BASE}/jobs/a/content"
    # What is known of the result is asked for where the status is.
    assert address(described, BASE, "result", Request("a", "m", {"result": theirs})) == f"{BASE}/v1/get_result?id=a"


def test_without_an_address_there_is_none_or_the_described_one() -> None:
    assert address(SEGMIND, "https://h", "status", Request("a")) == "https://h/v2/requests/a/status"
    assert address(SEGMIND, "https://h", "result", Request("a")) == "https://h/v2/requests/a"
    assert address(FAL, "https://h", "result", Request("a", "o/m")) == "https://h/o/m/requests/a"
    # Where the status holds the result, both are asked at one address.
    assert address(BFL, "https://h", "result", Request("a")) == "https://h/v1/get_result?id=a"


def test_only_what_the_description_looks_for_is_kept() -> None:
    body = {"status_url": "https://queue.fal.run/s", "response_url": 7, "stream_url": "https://queue.fal.run/t"}
    assert named_addresses(body, FAL) == {"status": "https://queue.fal.run/s"}
    assert named_addresses({"status_url": "x" * 2_001}, FAL) == {}
    assert named_addresses(body, SEGMIND) == {}
