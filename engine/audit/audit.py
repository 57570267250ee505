"""The audit of a whole run: ledger, output and files, in that order.

Reads only, and works beside a running process: it then holds what is committed against the disk and leaves
alone what may just be coming into being.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from engine.audit.file_audit import audit_files, audit_orphans, named_files
from engine.audit.findings import Finding, Kind, Remedy
from engine.audit.ledger_audit import audit_ledger
from engine.audit.object_audit import audit_objects, storage_of
from engine.audit.output_audit import audit_output
from engine.ledger.schema import facts_in, open_for_reading
from engine.store_url import is_store_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from engine.disk.run_dir import RunDir


class Watcher(msgspec.Struct, frozen=True):
    """Who is told how far an audit is: ``begins(bytes in all)``, then ``checked(bytes more)``."""

    begins: Callable[[int], None] = lambda _bytes: None
    checked: Callable[[int], None] = lambda _bytes: None


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """What an audit looked at and found.

    Attributes:
        lines: lines that the ledger has written to the output; each was looked for.
        files: files that the ledger has; each was looked for.
        bytes: their length in all.
        quick: whether only their lengths were.
        findings: what was found; empty if all is well.
    """

    lines: int
    files: int
    bytes: int
    quick: bool
    findings: tuple[Finding, ...]


def audit(directory: RunDir, *, quick: bool, at_work: bool, watcher: Watcher | None = None) -> Audit:
    """Hold a run's ledger, output and files against each other.

    Args:
        directory: the run directory.
        quick: whether the lengths of files are enough.
        at_work: whether a process works on the run now.
        watcher: who is told how far it is.

    Raises:
        LedgerError: the ledger cannot be read at all.
        StorageError: an object store that files went to cannot be asked.
    """
    watcher = watcher or Watcher()
    db = open_for_reading(directory.ledger)
    try:
        db.execute("BEGIN")  # one snapshot, whatever is committed meanwhile
        facts = facts_in(db)
        findings = list(audit_ledger(db))
        if any(finding.kind is Kind.LEDGER_DAMAGED for finding in findings):
            return Audit(lines=0, files=0, bytes=0, quick=quick, findings=tuple(findings))
        lines = int(facts.get("output_lines") or 0)
        if not facts.get("output_stale"):
            output, written_bytes = output_of(directory, facts), int(facts.get("output_bytes") or 0)
            findings += audit_output(db, output, lines=lines, size_bytes=written_bytes)
        files = named_files(db)
        watcher.begins(sum(file.size_bytes for file in files))
        on_disk = [file for file in files if not is_store_url(file.path)]
        findings += audit_files(on_disk, directory.root, quick=quick, on_checked=watcher.checked)
        in_stores = [file for file in files if is_store_url(file.path)]
        storage = storage_of(facts)
        if in_stores or storage.store is not None:
            findings += audit_objects(db, in_stores, storage, quick=quick, at_work=at_work, on_checked=watcher.checked)
        if not at_work:
            findings += audit_orphans(db, files, directory.media, shown=directory.media.name)
    finally:
        db.close()
    return Audit(
        lines=lines,
        files=len(files),
        bytes=sum(file.size_bytes for file in files),
        quick=quick,
        findings=tuple(findings),
    )


def output_of(directory: RunDir, facts: dict[str, Any]) -> Path:
    """Return where the output of a run is."""
    return directory.root / (facts.get("output_path") or directory.results.name)


def encode(found: Audit, *, version: int) -> bytes:
    """Return an audit as one JSON object, each finding with the name of its remedy."""
    record = msgspec.to_builtins(found)
    record["findings"] = [
        {**msgspec.to_builtins(finding), "remedy": finding.remedy.value} for finding in found.findings
    ]
    return orjson.dumps({"version": version, **record})


def jobs_to_download(found: Audit) -> tuple[int, ...]:
    """Return the jobs whose files have to be downloaded again."""
    jobs = {finding.job for finding in found.findings if finding.remedy is Remedy.DOWNLOAD}
    return tuple(sorted(job for job in jobs if job is not None))


def without_files(directory: RunDir, jobs: Sequence[int]) -> list[int]:
    """Return those of ``jobs`` that have no file by the ledger's word."""
    db = open_for_reading(directory.ledger)
    try:
        having = {file.job for file in named_files(db)}
    finally:
        db.close()
    return [job for job in jobs if job not in having]
