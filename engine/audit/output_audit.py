"""Check the output against the ledger: every written line, once, in its place, byte for byte.

While file and ledger agree, both are read side by side and nothing is kept. From the first difference on, the
lines of the file are told apart by their ``seq``, so that each finding names what it is about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from engine.audit.findings import Finding, Kind
from engine.job.records import encode_line
from engine.output.result_lines import load_written

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from engine.job.records import ResultLine

BATCH_LINES = 500
FINDINGS_MAX = 1_000
"""Of an output that is wrong all over, no more is told."""


def audit_output(db: sqlite3.Connection, output: Path, *, lines: int, size_bytes: int) -> Iterator[Finding]:
    """Yield what is wrong with the first ``size_bytes`` of the output, which hold ``lines`` lines.

    What lies behind them was written by a process that was killed before it could say so, or by one that is at
    work now; the next run cuts it off.
    """
    if not lines:
        return
    if not output.is_file():
        yield Finding(kind=Kind.OUTPUT_MISSING, subject=str(output), detail=f"{lines} lines were written to it")
        return
    with output.open("rb") as file:
        agreed, offset = _agreed(db, file, lines)
        if agreed == lines and offset == size_bytes:
            return
        file.seek(offset)
        findings = _differences(db, file, output, first_seq=agreed, lines=lines, end=size_bytes)
        for count, finding in enumerate(findings, start=1):
            yield finding
            if count == FINDINGS_MAX:
                return


def _agreed(db: sqlite3.Connection, file: BinaryIO, lines: int) -> tuple[int, int]:
    """Return how many lines agree from the beginning on, and how many bytes they are."""
    agreed = offset = 0
    while agreed < lines:
        for result in load_written(db, first_seq=agreed, limit=min(BATCH_LINES, lines - agreed)):
            expected = encode_line(result)
            if result.seq != agreed or file.read(len(expected)) != expected:
                return agreed, offset
            agreed += 1
            offset += len(expected)
        if agreed < lines and not load_written(db, first_seq=agreed, limit=1):
            return agreed, offset
    return agreed, offset


class _Lines:
    """The written lines from ``first_seq`` on, as the ledger has them, and which of them were seen.

    Args:
        lines: how many lines were written in all.
    """

    def __init__(self, db: sqlite3.Connection, *, first_seq: int, lines: int) -> None:
        self._db = db
        self._first_seq = first_seq
        self._lines = lines
        self._seen = bytearray(lines)

    def judge(self, text: bytes, subject: str) -> Finding | None:
        """Return what is wrong with a line of the file; None if it is one of ours as it was written."""
        try:
            record = orjson.loads(text)
            seq, id_ = record["seq"], record["id"]
        except (ValueError, TypeError, KeyError):
            return Finding(kind=Kind.LINE_TORN, subject=subject, detail="it is no result line")
        if not isinstance(seq, int) or not 0 <= seq < self._lines:
            detail = f"no line with seq {seq} was written"
            return Finding(kind=Kind.LINE_FOREIGN, subject=subject, detail=detail, id=id_)
        if seq < self._first_seq or self._seen[seq]:
            detail = f"the line with seq {seq} is there twice"
            return Finding(kind=Kind.LINE_DOUBLED, subject=subject, detail=detail, id=id_)
        self._seen[seq] = 1
        written = self._written(seq)
        if written is None or encode_line(written) != text:
            return Finding(kind=Kind.LINE_ALTERED, subject=subject, detail="it is not what was written", id=id_)
        return None

    def missing(self, subject: str) -> Iterator[Finding]:
        """Yield the lines that were not seen."""
        for seq in range(self._first_seq, self._lines):
            if not self._seen[seq] and (written := self._written(seq)) is not None:
                detail = f"the line with seq {seq} is not there"
                yield Finding(kind=Kind.LINE_MISSING, subject=subject, detail=detail, id=written.id)

    def _written(self, seq: int) -> ResultLine | None:
        return next((line for line in load_written(self._db, first_seq=seq, limit=1) if line.seq == seq), None)


def _differences(
    db: sqlite3.Connection, file: BinaryIO, output: Path, *, first_seq: int, lines: int, end: int
) -> Iterator[Finding]:
    written = _Lines(db, first_seq=first_seq, lines=lines)
    number = first_seq
    while file.tell() < end and (text := file.readline()):
        number += 1
        if (finding := written.judge(text, f"{output}:{number}")) is not None:
            yield finding
    yield from written.missing(str(output))
