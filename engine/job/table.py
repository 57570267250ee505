"""Rows of a table as job lines: which column is which parameter, and texts that are made from several.

A column is sent as the parameter of its name. ``id`` and ``model`` are ours, ``metadata.NAME`` comes back with the
result, and ``NAME:integer`` (``number``, ``boolean``, ``json``) says what a cell is if it is no text. An empty cell is
an absent parameter. Pure: knows nothing of files.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from engine.errors import UsageError, nearest
from engine.job.shown import shown
from engine.job.strict_json import NotStrictJsonError, strict_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

METADATA = "metadata."
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Wishes(NamedTuple):
    """How a table is read differently from what its header says.

    Attributes:
        renames: parameter → column.
        templates: parameter → text with ``{column}`` in it; whatever stands between braces is the name of a column.
        metadata: columns that come back with the result instead of being sent.
    """

    renames: Mapping[str, str] = {}
    templates: Mapping[str, str] = {}
    metadata: Sequence[str] = ()


class CellError(Exception):
    """A row cannot be a job line; the message says which cell and why."""


class _Target(NamedTuple):
    """Where a column's cells go, and how they are read."""

    name: str
    column: str
    read: Callable[[str], Any]


class _Piece(NamedTuple):
    """A part of a template: plain text, then the cell of a column, if one follows."""

    text: str
    column: str | None


class Layout:
    """What becomes of the cells of one table.

    Args:
        header: the names of its columns.
        wishes: what was asked for besides.

    Raises:
        UsageError: a column is named twice or not at all, a wish names one that is not there, or two give one name.
    """

    def __init__(self, header: Sequence[str], wishes: Wishes) -> None:
        self._columns = [name.strip() for name in header]
        self._places = {name: place for place, name in enumerate(self._columns)}
        self._templates = {name: _pieces(text) for name, text in wishes.templates.items()}
        self._check(wishes)
        used = {piece.column for pieces in self._templates.values() for piece in pieces}
        self._targets: list[_Target] = []
        for column in self._columns:
            names = [parameter for parameter, source in wishes.renames.items() if source == column]
            if column in wishes.metadata:
                names.append(METADATA + column)
            if not names and column not in used:
                names.append(column)
            self._targets += [_target(column, name) for name in names]
        self._check_names(wishes)

    def has(self, name: str) -> bool:
        """Whether a column or a template gives this parameter, or ``id`` or ``model``."""
        return name in self._templates or any(target.name == name for target in self._targets)

    def line(self, cells: Sequence[str]) -> bytes:
        """Return the job line of a row, without its newline.

        Raises:
            CellError: the row has more cells than columns, or a cell is not what its column says.
        """
        if len(cells) > len(self._columns):
            raise CellError(f"it has {len(cells)} cells, the header has {len(self._columns)} columns")
        values = dict(zip(self._columns, [*cells, *[""] * (len(self._columns) - len(cells))], strict=True))
        found: dict[str, Any] = {}
        for target in self._targets:
            if text := values[target.column].strip():
                try:
                    found[target.name] = target.read(text)
                except ValueError as error:
                    raise CellError(f"its cell {target.column!r} {error}") from None
        found |= {name: _filled(pieces, values) for name, pieces in self._templates.items()}
        line: dict[str, Any] = {name: found.pop(name) for name in ("id", "model") if name in found}
        line["params"] = {name: value for name, value in found.items() if not name.startswith(METADATA)}
        if metadata := {name[len(METADATA) :]: value for name, value in found.items() if name.startswith(METADATA)}:
            line["metadata"] = metadata
        return orjson.dumps(line)

    def _check(self, wishes: Wishes) -> None:
        if len(self._places) < len(self._columns):
            twice = next(name for name in self._columns if self._columns.count(name) > 1)
            raise UsageError(f"the header names the column {twice!r} twice", hint="rename one of them")
        if "" in self._places:
            place = self._columns.index("") + 1
            raise UsageError(f"column {place} has no name in the header", hint="name it, or remove it")
        for name, text in wishes.templates.items():
            for piece in self._templates[name]:
                if piece.column is not None:
                    self._must_have(piece.column, f"the template {text!r}")
        for parameter, column in wishes.renames.items():
            self._must_have(column, f"--map {parameter}={column}")
        for column in wishes.metadata:
            self._must_have(column, f"--metadata {column}")

    def _check_names(self, wishes: Wishes) -> None:
        """Raise if two columns, or a column and a template, give one parameter: one of them would be lost."""
        givers = [(target.name, f"the column {target.column!r}") for target in self._targets]
        givers += [(name, f"the template {text!r}") for name, text in wishes.templates.items()]
        first: dict[str, str] = {}
        for name, giver in givers:
            if name in first:
                raise UsageError(
                    f"{first[name]} and {giver} both give {name!r}, and only one can be sent",
                    hint="send one under another name, or give its column back with the result (--metadata COLUMN)",
                )
            first[name] = giver

    def _must_have(self, column: str, what: str) -> None:
        if column not in self._places:
            raise UsageError(
                f"{what} names the column {column!r}, which is not there{nearest(column, self._columns)}",
                hint=f"the columns are {', '.join(self._columns)}",
            )


def _pieces(text: str) -> list[_Piece]:
    """Take a template apart; a name may hold what Python would take for an attribute or a format: ``metadata.row``."""
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise UsageError(f"the template {text!r} cannot be read: {error}", hint="write {{ for a brace") from None
    return [
        _Piece(plain, None if name is None else name + _behind("!", conversion) + _behind(":", spec))
        for plain, name, spec, conversion in parts
    ]


def _behind(mark: str, text: str | None) -> str:
    return f"{mark}{text}" if text else ""


def _filled(pieces: Sequence[_Piece], values: Mapping[str, str]) -> str:
    return "".join(piece.text + ("" if piece.column is None else values[piece.column]) for piece in pieces)


def _target(column: str, name: str) -> _Target:
    parameter, colon, kind = name.rpartition(":")
    if not colon:
        return _Target(name, column, str)
    if kind not in _READERS:
        raise UsageError(
            f"the column {column!r} says that its cells are {kind!r}{nearest(kind, _READERS)}",
            hint=f"behind a colon may stand {', '.join(_READERS)}",
        )
    return _Target(parameter, column, _READERS[kind])


def _integer(text: str) -> int:
    try:
        value = strict_json(text.encode())  # int() would take 1_000, and digits of other scripts
    except NotStrictJsonError:
        value = None
    if type(value) is not int:
        raise ValueError(f"is no whole number of at most 64 bits: {shown(text)}")
    return value


def _number(text: str) -> float:
    value = _json(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"is no number: {shown(text)}")  # noqa: TRY004 (what is wrong is the text)
    return value


def _boolean(text: str) -> bool:
    try:
        return _TRUTH[text.lower()]
    except KeyError:
        raise ValueError(f"is neither true nor false: {shown(text)}") from None


def _json(text: str) -> Any:
    try:
        return strict_json(text.encode())
    except NotStrictJsonError as error:
        raise ValueError(f"is no JSON: {error}") from None


_READERS: dict[str, Callable[[str], Any]] = {
    "text": str,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "json": _json,
}
