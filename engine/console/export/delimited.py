"""The table as CSV or TSV: a header and a row a job, after RFC 4180, in UTF-8; no cell is a formula."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from engine.clock import iso_utc
from engine.console.messages import harmless
from engine.console.spreadsheet import inert
from engine.output.result_table import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from engine.output.result_table import Column

COMMA, TAB = ",", "\t"
BLOCK_CHARS = 2**16


def as_delimited(
    columns: Sequence[Column], rows: Iterable[Sequence[Any]], *, separator: str, for_terminal: bool = False
) -> Iterator[bytes]:
    """Yield the table in blocks of some 64 KiB.

    Args:
        columns: what the header names.
        rows: a value for each column.
        separator: what stands between cells.
        for_terminal: whether a person looks at it, whose terminal no text may steer.
    """
    block = io.StringIO(newline="")
    # Both characters of the line end, because Python before 3.13 leaves a cell with the other one unquoted.
    writer = csv.writer(block, delimiter=separator, lineterminator="\r\n")
    text_cell = _shown if for_terminal else inert
    cells = [_cell_of(column.kind, text_cell) for column in columns]
    writer.writerow([text_cell(column.name) for column in columns])
    for row in rows:
        writer.writerow([None if value is None else cell(value) for cell, value in zip(cells, row, strict=True)])
        if block.tell() >= BLOCK_CHARS:
            yield block.getvalue().encode()
            block.seek(0)
            block.truncate()
    yield block.getvalue().encode()


def _shown(text: str) -> str:
    return harmless(inert(text))


def _cell_of(kind: Kind, text_cell: Callable[[str], str]) -> Callable[[Any], Any]:
    """Return how a value of this kind is written."""
    match kind:
        case Kind.TEXT:
            return text_cell
        case Kind.TIME:
            return iso_utc
        case Kind.BOOLEAN:
            return lambda truth: "true" if truth else "false"
        case Kind.INTEGER | Kind.NUMBER:
            return lambda number: number
