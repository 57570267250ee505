"""Rows of a table as job lines."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.errors import UsageError
from engine.job.table import CellError, Layout, Wishes


def line(header: str, row: str, **wishes: Any) -> Any:
    return orjson.loads(Layout(header.split(","), Wishes(**wishes)).line(row.split(",")))


def test_columns_are_parameters_and_empty_cells_are_absent() -> None:
    assert line("id,image_url,prompt", "a, https://e.example/a.png ,") == {
        "id": "a",
        "params": {"image_url": "https://e.example/a.png"},
    }
    assert line("image_url,prompt", "https://e.example/a.png") == {"params": {"image_url": "https://e.example/a.png"}}


def test_model_and_metadata_are_not_sent() -> None:
    found = line("model,prompt,metadata.row,who", "m,hi,17,Ann", metadata=["who"])
    assert found == {"model": "m", "params": {"prompt": "hi"}, "metadata": {"row": "17", "who": "Ann"}}


def test_a_column_may_say_what_its_cells_are() -> None:
    header = "a:integer,b:number,c:boolean,d:json,e:text"
    found = line(header, "7,1.5,yes,[1],01")
    assert found == {"params": {"a": 7, "b": 1.5, "c": True, "d": [1], "e": "01"}}
    assert line("n", "7", renames={"seed:integer": "n"}) == {"params": {"seed": 7}}


def test_a_column_may_be_sent_under_several_names_and_come_back_too() -> None:
    found = line("photo", "p", renames={"first": "photo", "last": "photo"}, metadata=["photo"])
    assert found == {"params": {"first": "p", "last": "p"}, "metadata": {"photo": "p"}}


def test_templates_take_their_columns() -> None:
    found = line("name,city,seed", "Ann,Rome,7", templates={"prompt": "Hello {name} of {city}, {{once}}"})
    assert found == {"params": {"prompt": "Hello Ann of Rome, {once}", "seed": "7"}}
    assert line("row,name", "9,Ann", templates={"id": "clip-{row}"}) == {"id": "clip-9", "params": {"name": "Ann"}}


@pytest.mark.parametrize("column", ["metadata.row", "seed:integer", "size[0]", "who!r"])
def test_what_stands_between_the_braces_of_a_template_is_the_name_of_a_column(column: str) -> None:
    assert line(f"{column},name", "9,Ann", templates={"prompt": f"no {{{column}}}."})["params"]["prompt"] == "no 9."


@pytest.mark.parametrize(
    ("header", "wishes", "words"),
    [
        ("a,a", {}, "names the column 'a' twice"),
        ("a,,b", {}, "column 2 has no name"),
        ("a:int", {}, "did you mean 'integer'?"),
        ("photo", {"renames": {"image_url": "foto"}}, "did you mean 'photo'?"),
        ("photo", {"metadata": ["foto"]}, "--metadata foto names the column"),
        ("photo,image_url", {"renames": {"image_url": "photo"}}, "the column 'photo' and the column 'image_url' both"),
        ("a,b", {"renames": {"seed": "a", "seed:integer": "b"}}, "both give 'seed'"),
        ("seed,seed:integer", {}, "both give 'seed'"),
        ("who,metadata.who", {"metadata": ["who"]}, "both give 'metadata.who'"),
        ("name,prompt", {"templates": {"prompt": "Hi {name}"}}, "the column 'prompt' and the template 'Hi {name}'"),
        ("name", {"templates": {"prompt": "Hello {nam}"}}, "did you mean 'name'?"),
        ("name", {"templates": {"prompt": "Hello {name"}}, "cannot be read"),
        ("name", {"templates": {"prompt": "{name.__class__}"}}, "which is not there"),
        ("name", {"templates": {"prompt": "{name:d}"}}, "'name:d', which is not there, did you mean 'name'?"),
        ("name", {"templates": {"prompt": "{name!x}"}}, "which is not there"),
        ("name", {"templates": {"prompt": "{}"}}, "which is not there"),
    ],
)
def test_a_wrong_layout_is_refused_with_its_column(header: str, wishes: Any, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        Layout(header.split(","), Wishes(**wishes))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("header", "row", "words"),
    [
        ("a", "1,2", "it has 2 cells, the header has 1 columns"),
        ("a:integer", "x", "its cell 'a:integer' is no whole number of at most 64 bits: 'x'"),
        ("a:integer", "9999999999999999999999999", "is no whole number of at most 64 bits"),
        ("a:integer", "\uff11\uff12", r"is no whole number of at most 64 bits: '\uff11\uff12'"),
        ("a:integer", "12_0", "is no whole number"),
        ("a:integer", "1.0", "is no whole number"),
        ("a:integer", "true", "is no whole number"),
        ("a:number", "true", "is no number"),
        ("a:boolean", "maybe", "neither true nor false"),
        ("a:json", "{", "is no JSON"),
    ],
)
def test_a_wrong_cell_is_named(header: str, row: str, words: str) -> None:
    with pytest.raises(CellError) as caught:
        line(header, row)
    assert words in str(caught.value)
