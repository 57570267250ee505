"""What an audit can find, and what mends it: one table that the report, the repair and FORMATS.md share.

A finding is a fact about one subject (a file, a line of the output, a job); it accuses nobody. Pure.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """What is wrong; the value stands in the JSON of ``engine verify``."""

    LEDGER_DAMAGED = "ledger_damaged"
    JOB_INCONSISTENT = "job_inconsistent"
    TOTAL_WRONG = "total_wrong"

    FILE_MISSING = "file_missing"
    FILE_TRUNCATED = "file_truncated"
    FILE_ALTERED = "file_altered"
    FILE_DOUBLED = "file_doubled"
    FILE_ORPHANED = "file_orphaned"

    OUTPUT_MISSING = "output_missing"
    LINE_MISSING = "line_missing"
    LINE_ALTERED = "line_altered"
    LINE_DOUBLED = "line_doubled"
    LINE_TORN = "line_torn"
    LINE_FOREIGN = "line_foreign"


class Remedy(StrEnum):
    """What mends a finding; the value is its name in the JSON."""

    DOWNLOAD = "download"
    """The file is set aside and downloaded again; nothing is submitted."""
    REBUILD = "rebuild"
    """The output is written anew from the ledger."""
    SET_ASIDE = "set_aside"
    """The file is moved into ``set-aside/`` beside it."""
    RECOUNT = "recount"
    """The total is counted anew from the rows."""
    BACKUP = "backup"
    """Only a backup helps: the ledger alone knows what was paid for."""


REMEDIES: dict[Kind, Remedy] = {
    Kind.LEDGER_DAMAGED: Remedy.BACKUP,
    Kind.JOB_INCONSISTENT: Remedy.BACKUP,
    Kind.TOTAL_WRONG: Remedy.RECOUNT,
    Kind.FILE_MISSING: Remedy.DOWNLOAD,
    Kind.FILE_TRUNCATED: Remedy.DOWNLOAD,
    Kind.FILE_ALTERED: Remedy.DOWNLOAD,
    Kind.FILE_DOUBLED: Remedy.DOWNLOAD,
    Kind.FILE_ORPHANED: Remedy.SET_ASIDE,
    Kind.OUTPUT_MISSING: Remedy.REBUILD,
    Kind.LINE_MISSING: Remedy.REBUILD,
    Kind.LINE_ALTERED: Remedy.REBUILD,
    Kind.LINE_DOUBLED: Remedy.REBUILD,
    Kind.LINE_TORN: Remedy.REBUILD,
    Kind.LINE_FOREIGN: Remedy.REBUILD,
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as the ledger says.

    Attributes:
        kind: what is wrong.
        subject: the file's path, the output's line or the job it is about.
        detail: what was expected and what was found.
        job: the number of the job in the input, from 0, if it is about one.
        id: that job's id.
    """

    kind: Kind
    subject: str
    detail: str
    job: int | None = None
    id: str | None = None

    @property
    def remedy(self) -> Remedy:
        """What mends it."""
        return REMEDIES[self.kind]
