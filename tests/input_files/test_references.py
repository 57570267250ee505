"""Which values of a job are local files, and how they are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.input_files.references import may_hold_references, references, replaced
from engine.job.local_file import is_local_file, local_path
from engine.job.model import Model, Parameter
from engine.job.records import encode_json

MODEL = Model(
    "avatar",
    {
        "image_url": Parameter("image_url", "uri"),
        "pictures": Parameter("pictures", "array", items="uri"),
        "prompt": Parameter("prompt", "string"),
        "words": Parameter("words", "array", items="string"),
        "free": Parameter("free"),
    },
)


def found(params: dict[str, Any], model: Model | None = MODEL) -> list[str]:
    return [reference.place for reference in references(params, model)]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("./a.png", "/in/a.png"),
        ("../a.png", "/in/../a.png"),
        ("/other/a.png", "/other/a.png"),
        ("file:a b.png", "/in/a b.png"),
        ("file:./a%20b.png", "/in/a%20b.png"),
        ("file:///other/a%20b.png", "/other/a b.png"),
        ("file://localhost/other/a.png", "/other/a.png"),
    ],
)
def test_a_name_becomes_a_path(value: str, path: str) -> None:
    assert is_local_file(value)
    assert local_path(value, Path("/in")) == Path(path)


@pytest.mark.parametrize("value", ["a.png", "//host/a.png", "https://host/a.png", "", None, 5, ".", "data:,x"])
def test_anything_else_is_no_file(value: object) -> None:
    assert not is_local_file(value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("file://host/a.png", "the machine 'host'"),
        ("file:", "names no file"),
        ("./a\0b", "names no file"),
        ("file:~nobody-here/a", "a user whom"),
    ],
)
def test_a_name_that_leads_nowhere_says_why(value: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        local_path(value, Path("/in"))


def test_a_declared_url_may_be_a_file_and_a_text_may_not() -> None:
    assert found({"image_url": "./a.png", "prompt": "./not a file", "words": ["file:no"]}) == ["params.image_url"]
    assert found({"pictures": ["./a.png", "https://x/b.png", "./c.png"]}) == [
        "params.pictures[0]",
        "params.pictures[2]",
    ]
    assert found({"image_url": ["./a.png"], "pictures": "./a.png", "prompt": "file:x"}) == []


@pytest.mark.parametrize("model", [MODEL, None, Model("free")])
def test_what_is_not_declared_is_a_file_only_if_it_says_so(model: Model | None) -> None:
    assert found({"free": "file:a.png", "other": ["file:b.png", "./c.png"]}, model) == [
        "params.free",
        "params.other[0]",
    ]
    assert found({"free": "./a.png", "other": {"deep": "file:a"}}, model) == []


def test_replacing_leaves_the_job_as_it_was() -> None:
    params = {"image_url": "./a.png", "pictures": ["./b.png", "https://x/c.png"], "prompt": "./p"}
    after = replaced(params, MODEL, lambda reference: reference.value.upper())
    assert after == {"image_url": "./A.PNG", "pictures": ["./B.PNG", "https://x/c.png"], "prompt": "./p"}
    assert params["pictures"] == ["./b.png", "https://x/c.png"]


@given(st.text(max_size=30))
def test_any_stored_file_is_seen_by_the_quick_look(name: str) -> None:
    try:
        path = local_path("./" + name, Path("/in"))
    except ValueError:
        return
    params = {"image_url": path.as_uri(), "prompt": name}
    assert may_hold_references(encode_json(params))
    assert local_path(params["image_url"], Path("/")) == path
