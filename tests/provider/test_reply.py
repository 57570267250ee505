"""Whatever a server sends, only what is what it must be gets through."""

from __future__ import annotations

import orjson
import pytest

from engine.provider.description import load_description
from engine.provider.interpretation import fetch_verdict
from engine.provider.reply import ERROR_TEXT_CHARS_MAX, Reply, media_urls, number, request_id_at
from engine.provider.verdict import Metrics, Result

URL = "https://images.example.com/a.mp4"
SEGMIND = load_description("segmind")
OUTPUTS = SEGMIND.result.outputs


def told(body: dict[str, object]) -> Result:
    found = fetch_verdict(Reply(200, {}, orjson.dumps({**body, "status": "COMPLETED"})), SEGMIND, utc=0.0)
    assert isinstance(found, Result)
    return found


def metrics(body: dict[str, object]) -> Metrics:
    return told(body).metrics


def reply(body: bytes, status: int = 500) -> Reply:
    return Reply(status, {}, body)


@pytest.mark.parametrize(
    "value", ["0f1e2d3c4b5a69788796a5b4c3d2e1f0", "5f0c7d3e-1b2a-4c3d-9e8f-001122334455", "a", "A_b-9", "x" * 128]
)
def test_a_usable_request_id_is_opaque(value: str) -> None:
    assert request_id_at({"request_id": value}, "request_id") == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x" * 129,
        "../admin",
        "a/b",
        "a b",
        "a\n",
        "a?b",
        "ü",
        "\uff11\uff12",
        "a%2Fb",
        None,
        7,
        True,
        ["a"],
        {"id": "a"},
    ],
)
def test_an_id_that_is_unsafe_in_a_path_is_no_id(value: object) -> None:
    assert request_id_at({"request_id": value}, "request_id") is None


def test_a_body_without_an_id_has_none() -> None:
    assert request_id_at({}, "request_id") is None


@pytest.mark.parametrize(
    ("value", "meant"), [(0, 0.0), (12, 12.0), (4.48, 4.48), ("2831155", 2831155.0), ("4.475", 4.475)]
)
def test_numbers_and_plain_decimal_strings_are_numbers(value: object, meant: float) -> None:
    assert number(value) == meant


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        -1,
        -0.5,
        float("nan"),
        float("inf"),
        "",
        "-1",
        "1e5",
        "nan",
        "\uff11\uff12",
        "1_000",
        " 1",
        "1\n",
        [1],
        {"a": 1},
        "0x10",
        "1" * 19,
    ],
)
def test_everything_else_is_no_number(value: object) -> None:
    assert number(value) is None


def test_metrics_keep_what_is_usable() -> None:
    raw = {"cost": "4.48", "inference_time": 712.9, "queue_time": -3, "remaining_credits": float("nan")}
    assert metrics({"metrics": raw}) == Metrics(cost_usd=4.48, inference_s=712.9)
    for odd in (None, [1], "x", 3):
        assert metrics({"metrics": odd}) == Metrics()


@pytest.mark.parametrize(
    "body",
    [
        {"output": URL},
        {"video": {"url": URL}},
        {"output": {"url": URL}},
        {"output": {"video_url": URL}},
        {"output": {"media_url": [URL]}},
        {"output": {"media_url": URL}},
        {"output": [URL]},
        {"output": [{"url": URL}]},
        {"images": [{"url": URL}]},
        {"audio": {"url": URL}},
        {"image": {"url": URL}},
        {"output": None, "image": {"url": URL}},
        {"output": "a text, no address", "video": {"url": URL}},
    ],
)
def test_every_shape_of_a_result_gives_its_url(body: dict[str, object]) -> None:
    assert media_urls(body, OUTPUTS) == (URL,)


def test_several_files_come_in_their_order() -> None:
    urls = [f"https://a.example/{number}.png" for number in range(3)]
    assert media_urls({"output": urls}, OUTPUTS) == tuple(urls)
    assert media_urls({"images": [{"url": url} for url in urls]}, OUTPUTS) == tuple(urls)


def test_the_documented_place_comes_before_a_list_of_outputs() -> None:
    assert media_urls({"output": ["https://a.example/thumb.png"], "video": {"url": URL}}, OUTPUTS) == (URL,)
    assert media_urls({"output": URL, "video": {"url": "https://a.example/other.mp4"}}, OUTPUTS) == (URL,)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"output": None},
        {"output": ""},
        {"output": "ftp://a/b"},
        {"output": "file:///etc/passwd"},
        {"output": 7, "video": 7, "images": 7},
        {"output": [[URL]]},
        {"output": {"deep": {"url": URL}}},
        {"video": {"url": None}},
        {"images": {"url": [URL]}},
    ],
)
def test_what_names_no_file_names_none(body: dict[str, object]) -> None:
    assert media_urls(body, OUTPUTS) == ()


def test_the_length_of_the_file_may_come_as_a_string() -> None:
    def facts(body: dict[str, object]) -> tuple[int | None, str | None]:
        found = told(body)
        return found.bytes_expected, found.content_type

    assert facts({"video": {"file_size": "2831155", "content_type": "video/mp4"}}) == (2831155, "video/mp4")
    assert facts({"video": {"file_size": "big", "content_type": 7}}) == (None, None)
    assert facts({"video": {"file_size": 0}}) == (None, None)
    assert facts({"output": URL}) == (None, None)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"error": "no such voice"}', "no such voice"),
        (b'{"error": "bad", "error_description": "key expired"}', "bad; key expired"),
        (b'{"error": "same", "message": "same"}', "same"),
        (b'{"detail": [{"loc": "x"}]}', '[{"loc":"x"}]'),
        (b"<html>Bad gateway</html>", "HTTP 500 with an HTML page"),
        (b"", "HTTP 500 with an empty body"),
        (b"  \n", "HTTP 500 with an empty body"),
        (b'{"id": 1, "error": null}', "HTTP 500 without an explanation"),
        (b'{"error": ', "HTTP 500 with 10 bytes that are not the documented JSON"),
        (b"\xff\xfe\x00", "HTTP 500 with 3 bytes that are not the documented JSON"),
    ],
)
def test_the_servers_explanation_is_found_wherever_it_stands(body: bytes, text: str) -> None:
    assert reply(body).error_text() == text


def test_a_long_explanation_is_shortened() -> None:
    assert len(reply(orjson.dumps({"error": "x" * 10_000})).error_text()) == ERROR_TEXT_CHARS_MAX


@pytest.mark.parametrize("body", [b"NaN", b'{"a": NaN}', b'{"a": Infinity}', b"[" * 100_000, b'{"a":' * 100_000, b""])
def test_what_is_no_json_is_none(body: bytes) -> None:
    assert reply(body).json() is None
    assert reply(body).object() == {}


@pytest.mark.parametrize("body", [b"[]", b"7", b'"text"', b"null"])
def test_json_that_is_no_object_is_an_empty_one(body: bytes) -> None:
    assert reply(body).object() == {}
