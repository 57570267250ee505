"""One line of the input becomes a job, or the reason why it is none; never an exception."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.job.job import derived_id
from engine.job.job_line import JobLine, LineError, ParsedLine, parse_job_line
from engine.job.model import Model, Parameter

AVATAR = Model(
    "avatar", {"image_url": Parameter("image_url", "uri", required=True), "prompt": Parameter("prompt", "string")}
)
OWNER_OF_NAMES = Model("names", {name: Parameter(name, "string") for name in ("id", "model", "metadata")})
CATALOGUE = {model.name: model for model in (AVATAR, OWNER_OF_NAMES, Model("free"))}
URL = "https://example.com/a.png"
PARAMS = {"image_url": URL, "prompt": "a calm presenter"}


def parsed(line: object, *, default_model: str | None = "avatar", first: bool = False) -> ParsedLine | None:
    text = line if isinstance(line, bytes) else json.dumps(line).encode()
    return parse_job_line(text, catalogue=CATALOGUE, default_model=default_model, first=first)


def good(line: object, *, default_model: str | None = "avatar", first: bool = False) -> JobLine:
    result = parsed(line, default_model=default_model, first=first)
    assert isinstance(result, JobLine), result
    return result


def bad(line: object, *, default_model: str | None = "avatar", kind: str = "bad_line") -> LineError:
    result = parsed(line, default_model=default_model)
    assert isinstance(result, LineError), result
    assert result.kind == kind
    assert result.message.isprintable()
    return result


def test_the_three_shapes_are_one_job() -> None:
    wrapped = good({"id": "a", "params": PARAMS}).job
    body = good({"custom_id": "a", "body": PARAMS}).job
    bare = good({"id": "a", **PARAMS}).job
    assert wrapped == body == bare
    assert (wrapped.id, wrapped.model, wrapped.params, wrapped.metadata) == ("a", "avatar", PARAMS, None)
    assert wrapped.id_given


def test_a_line_without_an_id_gets_one_from_its_content() -> None:
    for line in (PARAMS, {"params": PARAMS}, {"body": PARAMS}):
        job = good(line).job
        assert (job.id, job.id_given) == (derived_id("avatar", PARAMS, 1), False)


@pytest.mark.parametrize(
    "wrap", [lambda line: line | {"params": PARAMS}, lambda line: line | {"body": PARAMS}, lambda line: line | PARAMS]
)
def test_model_and_metadata_are_ours_and_not_sent(wrap: Any) -> None:
    job = good(wrap({"model": "free", "metadata": {"row": [17, None]}})).job
    assert (job.model, job.params, job.metadata) == ("free", PARAMS, {"row": [17, None]})


def test_in_a_bare_object_a_parameter_that_the_model_declares_is_sent() -> None:
    line = {"id": "a", "model": "b", "metadata": "c"}
    job = good(line, default_model="names").job
    assert (job.model, job.params, job.metadata, job.id_given) == ("names", line, None, False)
    # The line names the model itself; then its word "model" is ours, and the two others are the model's.
    job = good({"id": "a", "model": "names", "metadata": "c"}).job
    assert (job.model, job.params) == ("names", {"id": "a", "metadata": "c"})


def test_beside_params_our_words_are_ours_whatever_the_model_declares() -> None:
    job = good({"id": "a", "model": "names", "params": {"id": "b"}}).job
    assert (job.id, job.params) == ("a", {"id": "b"})


def test_the_keys_of_the_batch_format_are_ignored_beside_body_only() -> None:
    extra = {"method": "POST", "url": "/v2/avatar"}
    assert good({"custom_id": "a", "body": PARAMS, **extra}).job.params == PARAMS
    assert "unknown key 'method' beside 'params'" in bad({"params": PARAMS, **extra}).message


@pytest.mark.parametrize("given_id", ["a", "clip 1/\u00fc", "\x1b[31m", "\u202e", "=1+1", "<b>", "a" * 512, "\n"])
def test_any_text_is_an_id(given_id: str) -> None:
    assert good({"id": given_id, "params": PARAMS}).job.id == given_id


@pytest.mark.parametrize(("number", "job_id"), [(17, "17"), (0, "0"), (-1, "-1"), (2**64 - 1, "18446744073709551615")])
def test_a_whole_number_is_an_id_in_its_decimal_spelling(number: int, job_id: str) -> None:
    assert good({"id": number, "params": PARAMS}).job.id == job_id


@pytest.mark.parametrize("given_id", ["", None, True, 1.5, [], {}, "a" * 513])
@pytest.mark.parametrize("key", ["id", "custom_id"])
def test_what_is_no_id_is_refused(given_id: object, key: str) -> None:
    assert bad({key: given_id, "params": PARAMS}).message.startswith(f"'{key}' ")


@pytest.mark.parametrize("model", ["", None, 5, "../requests", "a b", "a" * 129])
def test_what_is_no_name_of_a_model_is_refused(model: object) -> None:
    for line in ({"model": model, "params": PARAMS}, {"model": model, **PARAMS}):
        assert bad(line).message.startswith("'model' must be ")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"params": PARAMS, "body": PARAMS}, "both 'params' and 'body'"),
        ({"id": "a", "custom_id": "a", "body": PARAMS}, "both 'id' and 'custom_id'"),
        ({"params": PARAMS, "metdata": 1}, "unknown key 'metdata' beside 'params', did you mean 'metadata'?"),
        ({"body": PARAMS, "modle": 1}, "unknown key 'modle' beside 'body', did you mean 'model'?"),
        ({"params": PARAMS, "\x1b": 1}, r"unknown key '\x1b' beside 'params'"),
        ({"params": None}, "'params' must be an object, not null"),
        ({"params": []}, "'params' must be an object, not an array"),
        ({"body": "x"}, "'body' must be an object, not a string"),
        ([], "the line must be a JSON object, not an array"),
        ("x", "the line must be a JSON object, not a string"),
        (None, "the line must be a JSON object, not null"),
        (True, "the line must be a JSON object, not a boolean"),
        (5, "the line must be a JSON object, not a number"),
        (b'{"params": {"a": 1, "a": 1}}', "the key 'a' appears twice"),
        (b'{"params": {"a": NaN}}', "NaN is not a JSON number"),
        (b"{} trailing", "something follows the value"),
        (b'{"params": {"a": ' + b"[" * 100_000, "nested deeper than 64"),
        (b"\xff{}", "the line cannot be read: it is not UTF-8"),
        (b'{"a": "\x00"}', "a NUL byte stands in column 8"),
        (b'{"a": "\\u0000"}', "a NUL stands in the string"),
        (b"\0" * 100, "nothing but NUL bytes"),
        (gzip.compress(b"{}", mtime=0), "gzip-compressed"),
        (b"PK\x03\x04...", "a zip archive"),
        ('{"a": 1}'.encode("utf-16"), "UTF-16 or UTF-32"),
        ('{"a": 1}'.encode("utf-16-le"), "UTF-16 or UTF-32"),
        ('{"a": 1}'.encode("utf-16-be"), "UTF-16 or UTF-32"),
        ('{"a": 1}'.encode("utf-32-be"), "UTF-16 or UTF-32"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
    ],
)
def test_what_is_none_of_the_three_shapes_is_refused_with_the_reason(line: object, message: str) -> None:
    assert message in bad(line).message


def test_what_the_model_would_refuse_names_the_json_key() -> None:
    assert bad({"params": {}}, kind="bad_params").message == "params.image_url is missing"


@pytest.mark.parametrize(
    ("line", "key", "meant"),
    [
        ({"id": "a", "parms": {"image_url": URL}}, "parms", "params"),
        ({"id": "a", "boddy": {"image_url": URL}}, "boddy", "body"),
        ({"id": "a", "params": {"image_ulr": URL}}, "image_ulr", "image_url"),
        ({"id": "a", "image_ulr": URL, "modl": "free"}, "modl", "model"),
    ],
)
def test_a_line_that_lacks_something_names_the_key_that_was_probably_meant(line: Any, key: str, meant: str) -> None:
    found = bad(line, kind="bad_params").message
    assert found.startswith("params.image_url is missing; ")
    assert f"declares no parameter {key!r}, did you mean {meant!r}?" in found


def test_what_nobody_can_guess_is_not_told_of_a_line_that_lacks_something() -> None:
    assert bad({"params": {"xyzzy": 1}}, kind="bad_params").message == "params.image_url is missing"


@pytest.mark.parametrize("model", ["free", "unheard-of"])
def test_an_object_called_much_like_params_is_pointed_out_where_anything_goes(model: str) -> None:
    warnings = good({"model": model, "parms": {"image_url": URL}}).warnings
    assert warnings[-1] == "the key 'parms' is sent as a parameter, did you mean 'params'?"
    assert len(good({"model": model, "mode": "fast", "camera": {}}).warnings) == len(warnings) - 1
    assert len(good({"model": model, "params": {"parms": {}}}).warnings) == len(warnings) - 1


def test_a_misspelt_word_of_ours_beside_bare_params_is_pointed_out() -> None:
    (warning,) = good({"image_url": URL, "metdata": {}}).warnings
    assert warning == "model avatar declares no parameter 'metdata', did you mean 'metadata'?"
    error = bad({"id": 7, "metadata": [1], "params": {"image_url": "a.png", "prompt": 5}}, kind="bad_params")
    assert error.message == (
        "params.image_url must be an http or https URL, or a local file (./face.png, file:…), but is 'a.png' (a file"
        " beside the input is written './a.png'); params.prompt must be a string, but is a number"
    )
    assert (error.id, error.model, error.metadata) == ("7", "avatar", [1])


@pytest.mark.parametrize(
    ("line", "job_id"),
    [
        ({"id": "a", "params": 5}, "a"),
        ({"custom_id": 5, "body": None}, "5"),
        ({"id": "a", "params": PARAMS, "x": 1}, "a"),
        (b'{"id": "a", "params": {"x": NaN}}', "a"),
        (b'{"id": "a", "params": {"x": 1, "x": 2}}', "a"),
        (b'{"id": "a", "params": {"x": "\\u0000"}}', "a"),
        (b'{"id": "a\\u0000", "params": {}}', None),
        (b'{"id": "\\ud800", "params": {}}', None),
        (b'{"id": "a", "params": {', None),
        (b'{"id": "a", "params": ' + b"[" * 5_000 + b"]" * 5_000 + b"}", None),
        ({"id": ["a"], "params": {}}, None),
        ({"id": "", "custom_id": "b", "params": {}}, "b"),
    ],
)
def test_the_id_of_an_invalid_line_is_kept_where_it_can_be_read(line: object, job_id: str | None) -> None:
    assert bad(line).id == job_id


def test_the_model_and_metadata_of_an_invalid_line_are_kept_where_they_can_be_read() -> None:
    error = bad({"model": "free", "metadata": {"row": 1}, "params": 5})
    assert (error.model, error.metadata) == ("free", {"row": 1})
    assert bad({"model": "../x", "params": {}}).model is None


@pytest.mark.parametrize("text", [b"", b" ", b"\r", b"\t \r"])
def test_a_blank_line_is_nothing(text: bytes) -> None:
    assert parsed(text) is None


def test_a_byte_order_mark_is_accepted_at_the_start_of_the_input() -> None:
    assert good(b"\xef\xbb\xbf" + json.dumps(PARAMS).encode(), first=True).job.params == PARAMS
    assert parsed(b"\xef\xbb\xbf\r", first=True) is None


def test_carriage_returns_and_surrounding_white_space_are_accepted() -> None:
    assert good(b" \t" + json.dumps(PARAMS).encode() + b" \r").job.params == PARAMS


def test_without_any_model_the_line_says_where_to_name_one() -> None:
    for line in (PARAMS, {"params": PARAMS}):
        assert "provider.model" in bad(line, default_model=None).message
    assert good({"model": "avatar", **PARAMS}, default_model=None).job.model == "avatar"


def test_an_unknown_parameter_is_a_warning_and_is_sent() -> None:
    line = good({**PARAMS, "promt": "x"})
    assert line.warnings == ("model avatar declares no parameter 'promt', did you mean 'prompt'?",)
    assert line.job.params["promt"] == "x"


def test_a_model_outside_the_catalogue_takes_anything_with_one_warning() -> None:
    line = good({"model": "avatr", "params": {"a": 1, "b": []}})
    assert line.warnings == (
        "model avatr is not in the catalogue, its parameters are not checked, did you mean 'avatar'?",
    )
    assert good({"model": "free", "params": {"a": 1}}).warnings == ()


def test_numbers_are_sent_as_they_were_written() -> None:
    job = good(b'{"model": "free", "params": {"a": 1, "b": 1.0, "c": 18446744073709551615, "d": 0.1}}').job
    assert repr(job.params) == "{'a': 1, 'b': 1.0, 'c': 18446744073709551615, 'd': 0.1}"


PIECES = st.sampled_from(
    [
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b":",
        b",",
        b"\\",
        b"\\u0000",
        b"\\ud800",
        b"null",
        b"1",
        b"1e999",
        b"NaN",
        b"\0",
        b"\xff",
        b" ",
    ]
    + [f'"{key}"'.encode() for key in ("id", "custom_id", "params", "body", "model", "metadata", "image_url")]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
SHAPES = st.dictionaries(
    st.sampled_from(["id", "custom_id", "params", "body", "model", "metadata", "method", "url", "image_url"]), JSON
)


@given(st.binary() | st.lists(PIECES).map(b"".join) | SHAPES.map(json.dumps).map(str.encode), st.booleans())
def test_any_bytes_are_a_job_or_a_printable_reason(text: bytes, first: bool) -> None:  # noqa: FBT001
    for default_model in ("avatar", "names", "free", "unknown", None):
        match parsed(text, default_model=default_model, first=first):
            case JobLine(job):
                assert job.id
                job.id.encode()
                assert len(job.id) <= 512
            case LineError(message=message, id=job_id):
                assert message.isprintable()
                assert job_id != ""
            case None:
                assert not text.removeprefix(b"\xef\xbb\xbf").strip()
