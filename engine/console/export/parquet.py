"""The table as Parquet: values with their types, row group after row group. The only file that needs pyarrow."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from engine.errors import UsageError
from engine.output.result_table import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from engine.output.result_table import Column

GROUP_CELLS_MAX = 1_000_000
GROUP_TEXT_CHARS_MAX = 32 * 2**20
"""A row group is held in memory as a whole, and a single line may bring megabytes of text."""


def require_pyarrow() -> None:
    """Raise unless the library is there.

    Raises:
        UsageError: with the command that installs it.
    """
    try:
        import pyarrow.parquet  # noqa: F401, PLC0415 (an extra)
    except ImportError as error:
        raise UsageError(
            f"Parquet is written by pyarrow, which cannot be loaded ({error})",
            hint="install it: pip install 'media-batch-engine[parquet]'; or export csv, which needs nothing",
        ) from error


def write_parquet(file: BinaryIO, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> None:
    """Write the table into an open file, which stays open."""
    import pyarrow as pa  # noqa: PLC0415 (an extra)
    from pyarrow.parquet import ParquetWriter  # noqa: PLC0415 (an extra)

    types = {
        Kind.TEXT: pa.string(),
        Kind.INTEGER: pa.int64(),
        Kind.NUMBER: pa.float64(),
        Kind.BOOLEAN: pa.bool_(),
        Kind.TIME: pa.timestamp("ms", tz="UTC"),
    }
    schema = pa.schema([(column.name, types[column.kind]) for column in columns])
    with ParquetWriter(file, schema) as writer:
        for group in _groups(rows, rows_max=max(1, GROUP_CELLS_MAX // len(columns))):
            arrays = [
                pa.array(_native(column.kind, values), type=field.type)
                for column, field, values in zip(columns, schema, zip(*group, strict=True), strict=True)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def _groups(rows: Iterable[Sequence[Any]], *, rows_max: int) -> Iterator[list[Sequence[Any]]]:
    """Yield the rows in groups that are bounded in their number and in their length."""
    group: list[Sequence[Any]] = []
    chars = 0
    for row in rows:
        group.append(row)
        chars += sum(len(value) for value in row if isinstance(value, str))
        if len(group) >= rows_max or chars >= GROUP_TEXT_CHARS_MAX:
            yield group
            group, chars = [], 0
    if group:
        yield group


def _native(kind: Kind, values: Sequence[Any]) -> Sequence[Any]:
    """Return values as pyarrow takes them; it cuts times off to milliseconds, as ``iso_utc`` does."""
    if kind is not Kind.TIME:
        return values
    return [None if epoch_s is None else datetime.fromtimestamp(epoch_s, UTC) for epoch_s in values]
