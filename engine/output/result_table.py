"""The results of a run as a table: one row for each job at rest, with what its line gave in columns of its own.

The fixed columns are fields of the result line under flat names. Besides them each name that stands at the top of any
line's params or metadata is a column; a first pass over the input collects these names and what their values are, so
that a header, or a schema, is known before the first row. Rows are yielded as they are read, whatever their number.
Reads only, and knows nothing of the format that the table is written in.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from engine.errors import UsageError, nearest
from engine.job.records import decode_json, encode_json
from engine.output.result_lines import PAID_ATTEMPT, PAYER

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from engine.job.records import Status

NAMES_MAX = 2_000
"""How many different names params, or metadata, may have: beyond, they are data and no columns."""


class Kind(Enum):
    """What the values of a column are; each may also be absent (None)."""

    TEXT = "text"
    INTEGER = "integer"
    """A whole number of 64 bits with a sign."""
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIME = "time"
    """A float: seconds since the epoch, UTC."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column, and where its values are found.

    Attributes:
        name: what the header calls it.
        kind: what its values are.
        sql: the expression that gives it; empty for a member of a JSON document.
        document: the JSON document that it is a member of: ``error``, ``params`` or ``metadata``.
        key: the member's name; None for the whole document, where that is no object.
    """

    name: str
    kind: Kind
    sql: str = ""
    document: str = ""
    key: str | None = None


FIXED = (
    Column("line", Kind.INTEGER, "line"),
    Column("id", Kind.TEXT, "id"),
    Column("status", Kind.TEXT, "job.status"),
    Column("model", Kind.TEXT, "model"),
    Column("request_id", Kind.TEXT, "request_id"),
    Column("file", Kind.TEXT, "path"),
    Column("url", Kind.TEXT, "url"),
    Column("bytes", Kind.INTEGER, "bytes"),
    Column("sha256", Kind.TEXT, "nullif(lower(hex(sha256)), '')"),
    Column("content_type", Kind.TEXT, "content_type"),
    Column(
        "files",
        Kind.INTEGER,
        f"(SELECT count(*) FROM file AS one WHERE one.job = {PAYER} AND job.status = 'succeeded')",  # noqa: S608 (our own words)
    ),
    Column("cost_usd", Kind.NUMBER, "CASE WHEN original IS NULL THEN cost_usd ELSE 0.0 END"),
    Column("attempts", Kind.INTEGER, "job.attempts"),
    Column("error_kind", Kind.TEXT, document="error", key="kind"),
    Column("error_message", Kind.TEXT, document="error", key="message"),
    Column("http_status", Kind.INTEGER, document="error", key="http_status"),
    Column("submitted_utc", Kind.TIME, "submitted_utc"),
    Column("completed_utc", Kind.TIME, "completed_utc"),
    Column("stored_utc", Kind.TIME, "stored_utc"),
    Column("queue_s", Kind.NUMBER, "queue_s"),
    Column("inference_s", Kind.NUMBER, "inference_s"),
    Column("lag_s", Kind.NUMBER, "lag_s"),
)
"""The columns that every run has."""

_DOCUMENTS = {"error": "job.error", "params": "params", "metadata": "metadata"}
_FROM_THE_LINE = ("params", "metadata")
# By its number alone, so that the rows come in the order of the input without being sorted.
_ROWS = (
    f" FROM job NOT INDEXED JOIN input USING (job){PAID_ATTEMPT}"  # noqa: S608 (our own words)
    f" LEFT JOIN file ON job.status = 'succeeded' AND file.job = {PAYER}"
    f" AND position = (SELECT min(position) FROM file AS one WHERE one.job = {PAYER})"
)
# Our JSON has no blanks, so its first character tells what it is. Only as text: a BLOB of few bytes can look like the
# binary JSON of newer versions of SQLite. DISTINCT alone neither sorts nor keeps the rows, only what they say.
_NAMES = (
    "SELECT DISTINCT key, CASE WHEN type <> 'integer' THEN type WHEN typeof(value) <> 'integer' THEN 'beyond'"
    " WHEN value BETWEEN -9007199254740992 AND 9007199254740992 THEN 'integer' ELSE 'long' END"
    " FROM input CROSS JOIN json_each(CAST({document} AS TEXT))"
    " WHERE substr(CAST({document} AS TEXT), 1, 1) = '{{'"
)
_NO_OBJECT = "SELECT 1 FROM input WHERE substr(CAST(metadata AS TEXT), 1, 1) <> '{' LIMIT 1"


def table_columns(db: sqlite3.Connection, names: Sequence[str] = ()) -> list[Column]:
    """Return the columns with these names, in their order; without names, all that the run has.

    Raises:
        UsageError: there is no such column, one is named twice, or there are too many.
    """
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"the column {twice!r} is asked for twice", hint="name each column once")
    known = {column.name: column for column in FIXED}
    if not names or not known.keys() >= set(names):
        known |= {column.name: column for column in _line_columns(db)}
    for name in names:
        if name not in known:
            raise UsageError(
                f"this run has no column {name!r}{_meant(name, known)}", hint=f"the columns are {', '.join(known)}"
            )
    return [known[name] for name in names or known]


def result_rows(db: sqlite3.Connection, columns: Sequence[Column], statuses: Sequence[Status]) -> Iterator[list[Any]]:
    """Yield the values of ``columns`` for each job at rest with one of ``statuses``, in the order of the input."""
    members = {
        document: [(place, column) for place, column in enumerate(columns) if column.document == document]
        for document in _DOCUMENTS
    }
    needed = [document for document in _DOCUMENTS if members[document]]
    # What is in a document stands empty in its place, and is filled in from the documents behind the last column.
    selected = ", ".join([*(column.sql or "NULL" for column in columns), *(_DOCUMENTS[name] for name in needed)])
    wanted = ", ".join("?" for _ in statuses)
    rows = db.execute(f"SELECT {selected}{_ROWS} WHERE job.status IN ({wanted}) ORDER BY job.job", tuple(statuses))
    for row in rows:
        values = list(row[: len(columns)])
        for document, content in zip(needed, row[len(columns) :], strict=True):
            if content is not None:
                found = _members(content)
                for place, column in members[document]:
                    values[place] = _value(found.get(column.key), column.kind)
        yield values


def _line_columns(db: sqlite3.Connection) -> Iterator[Column]:
    """Yield the columns that the job lines give, in the order in which their names first appear."""
    for document in _FROM_THE_LINE:
        types: dict[str, set[str]] = {}
        for name, type_ in db.execute(_NAMES.format(document=document)):
            types.setdefault(name, set()).add(type_)
            if len(types) > NAMES_MAX:
                raise UsageError(
                    f"the {document} of this run have more than {NAMES_MAX:,} different names, too many for columns",
                    hint="name what you need among the columns that every run has: --columns line,id,status,file",
                )
        if document == "metadata" and db.execute(_NO_OBJECT).fetchone():
            yield Column("metadata", Kind.TEXT, document="metadata")
        for name, found in types.items():
            yield Column(f"{document}_{name}", _kind(found), document=document, key=name)


def _kind(types: set[str]) -> Kind:
    """Return the narrowest kind that holds values of all these types unchanged."""
    match types - {"null"}:
        case found if not found:
            return Kind.TEXT
        case found if found <= {"integer", "long"}:
            return Kind.INTEGER
        case found if found <= {"integer", "real"}:
            return Kind.NUMBER
        case found if found <= {"true", "false"}:
            return Kind.BOOLEAN
        case _:
            return Kind.TEXT


def _meant(name: str, known: dict[str, Column]) -> str:
    """Suggest a column: people leave out whether it was a parameter or metadata."""
    whole = next((f"{document}_{name}" for document in _FROM_THE_LINE if f"{document}_{name}" in known), None)
    return nearest(name, known) if whole is None else f", did you mean {whole!r}?"


def _members(content: bytes) -> dict[str | None, Any]:
    value = decode_json(content)
    return value if isinstance(value, dict) else {None: value}


def _value(value: Any, kind: Kind) -> Any:
    """Return a member's value; in a column of texts whatever is none is written as JSON."""
    return value if value is None or kind is not Kind.TEXT or isinstance(value, str) else encode_json(value).decode()
