"""What is wrong with a job's parameters, said before anything is paid."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.job.model import Model, Parameter, unknown_model_warning, uri_problem
from engine.job.model_name import model_name_problem

AVATAR = Model(
    "avatar",
    {
        "image_url": Parameter("image_url", "uri", required=True),
        "audio_url": Parameter("audio_url", "uri", required=True),
        "prompt": Parameter("prompt", "string"),
        "seconds": Parameter("seconds", "integer", minimum=1, maximum=60),
        "strength": Parameter("strength", "number", minimum=0),
        "loop": Parameter("loop", "boolean"),
        "tags": Parameter("tags", "array"),
        "extra": Parameter("extra", "object"),
        "size": Parameter("size", "string", enum=("720p", "1080p")),
        "level": Parameter("level", "any", enum=(1, "high")),
    },
)
URL = "an http or https URL, or a local file (./face.png, file:…)"
GOOD: dict[str, Any] = {"image_url": "https://example.com/a.png", "audio_url": "http://example.com/a.wav"}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"prompt": ""},
        {"seconds": 1},
        {"seconds": 60.0},
        {"strength": 0},
        {"strength": 0.5},
        {"loop": False},
        {"tags": []},
        {"extra": {}},
        {"size": "720p"},
        {"level": 1},
        {"unheard_of": None},
    ],
)
def test_allowed_params_have_no_problems(more: dict[str, Any]) -> None:
    assert AVATAR.problems(GOOD | more) == []


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"image_url": ""}, f"params.image_url must be {URL}, but is empty"),
        ({"image_url": None}, f"params.image_url must be {URL}, but is null"),
        ({"image_url": 5}, f"params.image_url must be {URL}, but is a number"),
        (
            {"image_url": "a.png"},
            f"params.image_url must be {URL}, but is 'a.png' (a file beside the input is written './a.png')",
        ),
        ({"prompt": None}, "params.prompt must be a string, but is null"),
        ({"prompt": ["a"]}, "params.prompt must be a string, but is an array"),
        ({"seconds": True}, "params.seconds must be a whole number, but is a boolean"),
        ({"seconds": 1.5}, "params.seconds must be a whole number, but is 1.5"),
        ({"seconds": "5"}, "params.seconds must be a whole number, but is a string"),
        ({"seconds": 0}, "params.seconds must be at least 1, not 0"),
        ({"seconds": 61}, "params.seconds must be at most 60, not 61"),
        ({"strength": True}, "params.strength must be a number, but is a boolean"),
        ({"strength": -0.1}, "params.strength must be at least 0, not -0.1"),
        ({"loop": 1}, "params.loop must be true or false, but is a number"),
        ({"tags": {}}, "params.tags must be an array, but is an object"),
        ({"extra": []}, "params.extra must be an object, but is an array"),
        ({"size": "1081p"}, "params.size must be one of '720p', '1080p', not '1081p', did you mean '1080p'?"),
        ({"level": True}, "params.level must be one of 1, 'high', not true"),
    ],
)
def test_each_problem_names_its_key(more: dict[str, Any], problem: str) -> None:
    assert AVATAR.problems(GOOD | more) == [problem]


def test_every_missing_parameter_is_named() -> None:
    assert AVATAR.problems({}) == ["params.image_url is missing", "params.audio_url is missing"]


@pytest.mark.parametrize("kind", ["string", "array", "object", "any"])
def test_a_required_parameter_must_not_be_empty(kind: Any) -> None:
    empty: dict[str, object] = {"string": "", "array": [], "object": {}, "any": ""}
    model = Model("m", {"x": Parameter("x", kind, required=True)})
    assert model.problems({"x": empty[kind]}) == ["params.x is empty"]


@pytest.mark.parametrize("kind", ["integer", "number", "boolean", "any"])
def test_zero_and_false_are_not_empty(kind: Any) -> None:
    model = Model("m", {"x": Parameter("x", kind, required=True)})
    assert model.problems({"x": False if kind == "boolean" else 0}) == []


@pytest.mark.parametrize(
    "uri",
    [
        "https://example.com",
        "HTTPS://EXAMPLE.com/",
        "http://example.com:8080/a?b=c#d",
        "https://example.com?x=1",
        "http://127.0.0.1/a",
        "http://[2001:db8::1]:80/a",
        "https://b\u00fccher.example/\u00fc",
        "https://example.com/a|b{c}",
        "https://example.com/" + "a" * (8 * 1024 - 20),
    ],
)
def test_an_address_with_a_host_is_allowed(uri: str) -> None:
    assert uri_problem(uri) == ""


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("", "empty"),
        ("example.com/a.png", "is 'example.com/a.png'"),
        ("ftp://example.com/a", "is 'ftp://example.com/a'"),
        ("data:image/png;base64,AAAA", "is 'data:"),
        ("https:///a", "no valid host"),
        ("https://", "no valid host"),
        ("https://:80/a", "no valid host"),
        ("https://exa\\mple.com/", "no valid host"),
        ("https://[::1/", "no valid host"),
        ("https://example.com:http/", "no valid host"),
        ("https://user:password@example.com/", "user name or password"),
        ("https://user@example.com", "user name or password"),
        ("https://example.com/a b", "white space"),
        (" https://example.com/", "white space"),
        ("https://example.com/\n", "white space"),
        ("https://example.com/\x7f", "control character"),
        ("https://example.com/\u00a0", "white space"),
        ("https://example.com/" + "a" * 8 * 1024, "longer than 8,192 bytes"),
        ("https://example.com/" + "\u00fc" * 5_000, "longer than 8,192 bytes"),
    ],
)
def test_what_is_no_public_address_is_refused(uri: str, words: str) -> None:
    problem = uri_problem(uri)
    assert words in problem
    assert problem.isprintable()
    assert "password@" not in problem


@given(st.text() | st.text().map("https://{}".format))
def test_any_text_is_an_address_or_a_printable_problem(text: str) -> None:
    assert uri_problem(text).isprintable()


def test_an_unknown_parameter_is_a_warning_with_the_nearest_name() -> None:
    assert AVATAR.warnings(GOOD | {"promt": "x", "\x1b": 1}) == [
        "model avatar declares no parameter 'promt', did you mean 'prompt'?",
        r"model avatar declares no parameter '\x1b'",
    ]
    assert AVATAR.warnings(GOOD) == []


def test_a_model_without_declared_parameters_takes_anything() -> None:
    model = Model("free")
    assert model.problems({"a": [None]}) == model.warnings({"a": [None]}) == []


def test_an_unknown_model_is_a_warning_with_the_nearest_name() -> None:
    assert unknown_model_warning("avatr", {"avatar": AVATAR}).endswith("did you mean 'avatar'?")


@pytest.mark.parametrize("name", ["kling-v1-pro-ai-avatar", "kling-2.6", "a", "0", "owner/model_x.y", "a" * 128])
def test_the_name_of_a_model_is_allowed(name: str) -> None:
    assert model_name_problem(name) == ""


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/../b",
        "a..b",
        "a/./b",
        "a//b",
        "a/",
        "/a",
        "-a",
        "a b",
        "a\n",
        "a?b",
        "a%2e",
        "\u00e4",
        "a" * 129,
    ],
)
def test_a_name_that_could_lead_to_another_address_is_refused(name: str) -> None:
    assert "the name of a model" in model_name_problem(name)
