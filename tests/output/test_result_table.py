"""The table says of each job at rest what its result line says, and what its job line gave."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
import pytest

from engine.clock import iso_utc
from engine.errors import UsageError
from engine.job.states import State
from engine.ledger.new_lines import add_lines
from engine.ledger.schema import open_for_reading
from engine.output import result_table
from engine.output.result_lines import load_results
from engine.output.result_table import FIXED, Kind, result_rows, table_columns
from tests.jobs import FILE, add_jobs, bad_row, bring_to, job_row, read_to

if TYPE_CHECKING:
    from pathlib import Path

    from engine.job.records import Status
    from engine.ledger.ledger import Ledger

ALL: tuple[Status, ...] = ("succeeded", "failed", "invalid")


def names_and_kinds(db_path: Path) -> dict[str, Kind]:
    """Return the columns that the job lines give."""
    with closing(open_for_reading(db_path)) as db:
        return {column.name: column.kind for column in table_columns(db)[len(FIXED) :]}


def table(db_path: Path, *names: str, statuses: tuple[Status, ...] = ALL) -> list[dict[str, Any]]:
    """Return the table, read beside the ledger that writes."""
    with closing(open_for_reading(db_path)) as db:
        columns = table_columns(db, names)
        titles = [column.name for column in columns]
        return [dict(zip(titles, row, strict=True)) for row in result_rows(db, columns, statuses)]


def flattened(line: dict[str, Any]) -> dict[str, Any]:
    """Return a result line under the names of the table."""
    first = line["files"][0] if line["files"] else {}
    error = line["error"] or {}
    return {
        **{name: line[name] for name in ("line", "id", "status", "model", "request_id", "cost_usd", "attempts")},
        **{name: first.get(name) for name in ("url", "bytes", "sha256", "content_type")},
        "file": first.get("path"),
        "files": len(line["files"]),
        "error_kind": error.get("kind"),
        "error_message": error.get("message"),
        "http_status": error.get("http_status"),
        **line["timings"],
    }


async def test_each_job_at_rest_has_the_row_of_its_result_line_in_input_order(ledger: Ledger, db_path: Path) -> None:
    await add_jobs(ledger, 6)
    await ledger.change(add_lines, [bad_row(7)], read_to(7))
    places = (State.FAILED, State.DONE, State.SUBMITTED, State.STORED, State.UNKNOWN, State.PENDING)
    for job, state in enumerate(places):
        await bring_to(ledger, state, job=job)
    lines = await ledger.read(lambda db: load_results(db, [0, 1, 3, 6], first_seq=0))
    found = table(db_path, *(column.name for column in FIXED))
    for row in found:
        row |= {name: value and iso_utc(value) for name, value in row.items() if name.endswith("_utc")}
    assert found == [flattened(msgspec.to_builtins(line)) for _, line in lines]
    assert [row["status"] for row in found] == ["failed", "succeeded", "succeeded", "invalid"]


async def test_a_copy_has_the_file_of_its_original_and_cost_nothing(ledger: Ledger, db_path: Path) -> None:
    rows = [job_row(1, id_="a", prompt="same"), job_row(2, id_="b", prompt="same")]
    await ledger.change(add_lines, rows, read_to(2), dedupe=True)
    await bring_to(ledger, State.STORED)
    found = table(db_path, "id", "file", "files", "cost_usd")
    assert [list(row.values()) for row in found] == [["a", FILE.path, 1, 4.5], ["b", FILE.path, 1, 0.0]]


async def test_only_the_rows_and_columns_that_are_asked_for(ledger: Ledger, db_path: Path) -> None:
    await add_jobs(ledger, 2)
    await bring_to(ledger, State.FAILED, job=0)
    await bring_to(ledger, State.STORED, job=1)
    found = table(db_path, "params_prompt", "error_kind", "line", statuses=("failed",))
    assert [list(row.items()) for row in found] == [[("params_prompt", "p1"), ("error_kind", "rejected"), ("line", 1)]]


async def add_metadata(ledger: Ledger, *values: Any) -> None:
    """Add invalid lines, which are at rest at once, with these metadata."""
    rows = [bad_row(line)._replace(metadata=orjson.dumps(value)) for line, value in enumerate(values, start=1)]
    await ledger.change(add_lines, rows, read_to(len(rows)))


async def test_names_of_all_lines_are_columns_in_the_order_of_their_first_appearance(
    ledger: Ledger, db_path: Path
) -> None:
    rows = [job_row(1, zebra="z", prompt="p"), job_row(2, prompt="q", ärger="ü"), bad_row(3)]
    await ledger.change(add_lines, [rows[0], rows[1]._replace(metadata=b'{"a,b":1,"":2}'), rows[2]], read_to(3))
    assert list(names_and_kinds(db_path)) == [
        "params_zebra", "params_prompt", "params_ärger", "metadata_a,b", "metadata_",
    ]  # fmt: skip
    (row,) = table(db_path)  # the line that is at rest gave none of them
    assert [row[name] for name in names_and_kinds(db_path)] == [None] * 5


@pytest.mark.parametrize(
    ("values", "kind", "cells"),
    [
        ([1, None, -(2**63), 2**63 - 1], Kind.INTEGER, [1, None, -(2**63), 2**63 - 1]),
        ([1, 2.5], Kind.NUMBER, [1, 2.5]),
        ([2**53 + 1, 2.5], Kind.TEXT, ["9007199254740993", "2.5"]),
        ([1, 2**64 - 1], Kind.TEXT, ["1", "18446744073709551615"]),
        ([True, False, None], Kind.BOOLEAN, [True, False, None]),
        ([True, 1], Kind.TEXT, ["true", "1"]),
        (["a", 'b"\n', 1.5], Kind.TEXT, ["a", 'b"\n', "1.5"]),
        ([["a", 1], {"b": None}, "c"], Kind.TEXT, ['["a",1]', '{"b":null}', "c"]),
        ([None], Kind.TEXT, [None]),
    ],
)
async def test_a_column_has_the_narrowest_kind_that_changes_no_value(
    ledger: Ledger, db_path: Path, values: list[Any], kind: Kind, cells: list[Any]
) -> None:
    await add_metadata(ledger, *({"x": value} for value in values))
    assert names_and_kinds(db_path) == {"metadata_x": kind}
    found = [row["metadata_x"] for row in table(db_path, "metadata_x")]
    assert [(type(cell), cell) for cell in found] == [(type(cell), cell) for cell in cells]


async def test_json_of_few_bytes_is_not_taken_for_binary_json(ledger: Ledger, db_path: Path) -> None:
    await add_metadata(ledger, {"a": 12})  # eight bytes, the first of which says "an array of seven"
    assert names_and_kinds(db_path) == {"metadata_a": Kind.INTEGER}


@pytest.mark.parametrize(
    "name", ['a"b', "back\\slash", "line\nbreak", "\x1b", "ключ 🎬", "\\u0041", "", " ", "a.b", "$"]
)
async def test_whatever_a_name_is_its_value_is_found(ledger: Ledger, db_path: Path, name: str) -> None:
    await add_metadata(ledger, {name: "value"})
    assert table(db_path)[0][f"metadata_{name}"] == "value"


async def test_metadata_that_is_no_object_has_a_column_of_its_own(ledger: Ledger, db_path: Path) -> None:
    await add_metadata(ledger, {"row": 1}, "text", 17, ["a", {"row": 2}])
    found = table(db_path, "metadata", "metadata_row")
    assert [row["metadata"] for row in found] == [None, "text", "17", '["a",{"row":2}]']
    assert [row["metadata_row"] for row in found] == [1, None, None, None]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("stauts", "no column 'stauts', did you mean 'status'?"),
        ("row", "no column 'row', did you mean 'metadata_row'?"),
        ("xyzzy", "no column 'xyzzy'$"),
    ],
)
async def test_a_column_that_is_not_there_is_refused_with_the_nearest(
    ledger: Ledger, db_path: Path, name: str, words: str
) -> None:
    await add_metadata(ledger, {"row": 1})
    with pytest.raises(UsageError, match=words.replace("?", r"\?")) as refusal:
        table(db_path, "line", name)
    assert refusal.value.hint.startswith("the columns are line, id, status")
    assert refusal.value.hint.endswith("metadata_row")


async def test_a_column_that_is_asked_for_twice_is_refused(ledger: Ledger, db_path: Path) -> None:
    with pytest.raises(UsageError, match="'id' is asked for twice"):
        table(db_path, "id", "line", "id")


async def test_names_without_end_are_refused_and_the_fixed_columns_are_still_there(
    ledger: Ledger, db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_table, "NAMES_MAX", 3)
    await add_metadata(ledger, {"a": 1, "b": 1, "c": 1}, {"d": 1})
    with pytest.raises(UsageError, match="the metadata of this run have more than 3 different names"):
        table(db_path)
    assert [row["line"] for row in table(db_path, "line", "error_kind")] == [1, 2]


async def test_rows_are_read_in_order_without_being_sorted(ledger: Ledger, db_path: Path) -> None:
    await add_jobs(ledger, 1)

    asked: list[str] = []
    with closing(open_for_reading(db_path)) as db:
        db.set_trace_callback(asked.append)
        list(result_rows(db, table_columns(db), ("failed", "invalid")))
        db.set_trace_callback(None)
        select = next(sql for sql in asked if "ORDER BY job.job" in sql)
        found = [detail for *_, detail in db.execute(f"EXPLAIN QUERY PLAN {select}")]
    assert found[0] == "SCAN job"
    assert not [step for step in found if "TEMP B-TREE" in step or (step.startswith("SCAN") and step != "SCAN job")]
