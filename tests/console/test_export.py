"""The table of results in each of its formats, and what comes back when it is read."""

from __future__ import annotations

import csv
import io
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.clock import iso_utc
from engine.console.export import parquet
from engine.console.export.delimited import BLOCK_CHARS, COMMA, TAB, as_delimited
from engine.errors import UsageError
from engine.output.result_table import Column, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COLUMNS = [Column(kind.value, kind) for kind in Kind]
MOMENT_UTC = 1_767_225_600.9876
FULL: list[Any] = ["Grüße, 東京 🎬", -(2**63), -0.5, True, MOMENT_UTC]
EMPTY: list[Any] = [None] * len(COLUMNS)
HOSTILE = ['a "quoted", cell', "two\nlines", "a\rb", "tab\there", "=1+1", "\x1b[2Jgone", "-5", "'", ""]


def read_back(pieces: bytes, separator: str = COMMA) -> list[list[str]]:
    return list(csv.reader(io.StringIO(pieces.decode(), newline=""), delimiter=separator, strict=True))


def delimited(columns: Sequence[Column], rows: Sequence[list[Any]], separator: str = COMMA, **options: bool) -> bytes:
    return b"".join(as_delimited(columns, rows, separator=separator, **options))


def test_csv_has_a_header_and_ends_its_rows_as_the_standard_says() -> None:
    assert delimited(COLUMNS, [FULL, EMPTY]).decode() == (
        "text,integer,number,boolean,time\r\n"
        f'"Grüße, 東京 🎬",-9223372036854775808,-0.5,true,{iso_utc(MOMENT_UTC)}\r\n'
        ",,,,\r\n"
    )


@pytest.mark.parametrize("separator", [COMMA, TAB])
def test_every_text_comes_back_but_for_the_apostrophe_before_a_formula(separator: str) -> None:
    columns = [Column("text", Kind.TEXT), Column("other", Kind.TEXT)]
    found = read_back(delimited(columns, [[text, "x"] for text in HOSTILE], separator), separator)
    assert [row[0] for row in found[1:]] == ["'=1+1" if text == "=1+1" else text for text in HOSTILE]


def test_a_row_of_one_empty_cell_is_still_a_row() -> None:
    assert read_back(delimited(COLUMNS[:1], [[None], ["a"]])) == [["text"], [""], ["a"]]


def test_no_text_steers_a_terminal() -> None:
    text = delimited([Column("\x1b[31m", Kind.TEXT)], [[text] for text in HOSTILE], for_terminal=True).decode()
    assert "\x1b" not in text
    assert "\\x1b[2Jgone" in text


def test_a_long_table_comes_in_blocks() -> None:
    rows = [["x" * 999]] * 1_000
    blocks = list(as_delimited(COLUMNS[:1], rows, separator=COMMA))
    assert len(blocks) > 10
    assert max(map(len, blocks)) < BLOCK_CHARS + 1_001
    assert len(read_back(b"".join(blocks))) == 1_001


def written(tmp_path: Path, columns: Sequence[Column], rows: Sequence[list[Any]]) -> pq.ParquetFile:
    with (tmp_path / "a.parquet").open("wb") as file:
        parquet.write_parquet(file, columns, rows)
        assert not file.closed
    return pq.ParquetFile(tmp_path / "a.parquet", memory_map=False)


def test_parquet_keeps_the_types(tmp_path: Path) -> None:
    with written(tmp_path, COLUMNS, [FULL, EMPTY]) as file:
        table = file.read()
    types = [pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.timestamp("ms", tz="UTC")]
    assert table.schema.types == types
    first, second = table.to_pylist()
    moment = datetime.fromisoformat(iso_utc(MOMENT_UTC))
    assert moment == datetime(2026, 1, 1, 0, 0, 0, 987_000, UTC)
    assert list(first.values()) == [*FULL[:-1], moment]
    assert set(second.values()) == {None}


def test_texts_are_no_formulas_in_parquet_and_stay_as_they_are(tmp_path: Path) -> None:
    with written(tmp_path, COLUMNS[:1], [[text] for text in HOSTILE]) as file:
        assert file.read().column("text").to_pylist() == HOSTILE


def test_parquet_without_a_row_has_its_columns(tmp_path: Path) -> None:
    with written(tmp_path, COLUMNS, []) as file:
        assert file.schema_arrow.names == [column.name for column in COLUMNS]
        assert file.metadata.num_rows == 0


@pytest.mark.parametrize(("limit", "bound"), [("GROUP_CELLS_MAX", 20), ("GROUP_TEXT_CHARS_MAX", 40)])
def test_row_groups_are_bounded_by_cells_and_by_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, bound: int
) -> None:
    monkeypatch.setattr(parquet, limit, bound)
    rows: list[list[Any]] = [["ten chars.", number, None, None, None] for number in range(10)]
    with written(tmp_path, COLUMNS, rows) as file:
        groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
        assert file.read().column("integer").to_pylist() == list(range(10))
    assert groups == [4, 4, 2]


def test_without_pyarrow_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    parquet.require_pyarrow()
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UsageError, match="written by pyarrow") as refusal:
        parquet.require_pyarrow()
    assert "pip install 'media-batch-engine[parquet]'" in refusal.value.hint
