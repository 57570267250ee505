"""Tables (CSV, TSV) and JSON arrays as inputs: read as the job lines that they stand for.

A row is looked at once before anything is submitted, so that a table which breaks off in the middle is refused before
it costs anything. The job line of a row has the row's number, as a spreadsheet counts: the header is line 1.
"""

from __future__ import annotations

import asyncio
import csv
import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING

import orjson

from engine.errors import UsageError
from engine.intake.source import recorded_name
from engine.job.strict_json import NotStrictJsonError, strict_json
from engine.job.table import CellError, Layout, Wishes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

TABLES = frozenset({".csv", ".tsv"})
ROWS_AT_ONCE = 1_000
CELL_CHARS_MAX = 10 * 2**20
ARRAY_BYTES_MAX = 512 * 2**20
NO_WISHES = Wishes()


class TableSource:
    """A table with a header; see ``InputSource``.

    Args:
        path: ``.csv`` with commas or semicolons, or ``.tsv``; UTF-8.
        wishes: how it is read differently from what its header says.

    Raises:
        UsageError: it cannot be read as such; the message names the row.
    """

    continues = False

    def __init__(self, path: Path, wishes: Wishes = NO_WISHES) -> None:
        self._path = path
        self.directory = path.absolute().parent
        self.name = recorded_name(path)
        with self._rows() as rows:
            header = next(rows, None)
            if header is None:
                raise UsageError(f"{path} is empty: it has not even a header", hint="name the columns in its first row")
            self._layout = Layout(header, wishes)
            self.rows = sum(1 for _ in self._lines(rows))

    def has(self, name: str) -> bool:
        """Whether some column, or a template, gives this parameter, or ``id`` or ``model``."""
        return self._layout.has(name)

    async def blocks(self) -> AsyncIterator[bytes]:
        """Yield the job lines, an empty one for the header first."""
        with self._rows() as rows:
            next(rows, None)
            lines = self._lines(rows)
            yield b"\n"
            while block := await asyncio.to_thread(lambda: b"".join(itertools.islice(lines, ROWS_AT_ONCE))):
                yield block

    def _lines(self, rows: Iterator[list[str]]) -> Iterator[bytes]:
        for number, cells in enumerate(rows, start=2):
            if not any(cells):
                yield b"\n"
                continue
            try:
                yield self._layout.line(cells) + b"\n"
            except CellError as error:
                raise UsageError(f"{self._path}: row {number}: {error}", hint="correct the row") from None

    @contextmanager
    def _rows(self) -> Iterator[Iterator[list[str]]]:
        csv.field_size_limit(CELL_CHARS_MAX)
        try:
            with self._path.open(encoding="utf-8-sig", newline="") as file:
                head = file.readline()
                file.seek(0)
                yield csv.reader(file, delimiter=_delimiter(self._path, head), strict=True)
        except OSError as error:
            raise UsageError(
                f"the input {self._path} cannot be read ({error.strerror})",
                hint="name a table that is there and may be read",
            ) from error
        except UnicodeDecodeError as error:
            raise UsageError(
                f"{self._path} is not UTF-8 text ({error.reason})", hint="save it as 'CSV UTF-8' in the spreadsheet"
            ) from error
        except csv.Error as error:
            raise UsageError(f"{self._path} is no table: {error}", hint="a quoted cell may be left open") from error


class ArraySource:
    """A file that holds one JSON array of jobs; see ``InputSource``.

    Raises:
        UsageError: it cannot be read, or holds something else.
    """

    continues = False

    def __init__(self, path: Path) -> None:
        self.directory = path.absolute().parent
        self.name = recorded_name(path)
        if path.stat().st_size > ARRAY_BYTES_MAX:
            raise UsageError(
                f"{path} has more than {ARRAY_BYTES_MAX:,} bytes, which have to be read as one",
                hint=f"make a line of each job: jq -c '.[]' {path} > jobs.jsonl",
            )
        try:
            found = strict_json(path.read_bytes())
        except NotStrictJsonError as error:
            raise UsageError(f"{path} is no JSON: {error}", hint="one array of jobs, or one job a line") from None
        if not isinstance(found, list):
            raise UsageError(f"{path} holds no array of jobs", hint="one array of jobs, or one job a line")
        self._jobs = found

    async def blocks(self) -> AsyncIterator[bytes]:
        """Yield a line for each job."""
        for first in range(0, len(self._jobs), ROWS_AT_ONCE):
            yield b"".join(orjson.dumps(job) + b"\n" for job in self._jobs[first : first + ROWS_AT_ONCE])


def _delimiter(path: Path, head: str) -> str:
    """Return what separates the cells: spreadsheets of half the world write semicolons into a .csv."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    return ";" if head.count(";") > head.count(",") else ","
