"""A ledger that contradicts itself, or is not whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from engine.audit.findings import REMEDIES, Kind, Remedy
from engine.console.verify_command import verify
from engine.errors import LedgerError
from tests.audit.conftest import change

if TYPE_CHECKING:
    from pathlib import Path

    from tests.audit.conftest import Audited


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM job WHERE job = 5",
        "DELETE FROM input WHERE job = 5",
        "UPDATE job SET status = NULL WHERE job = 5",
        "UPDATE job SET seq = 17 WHERE job = 5",
        "UPDATE job SET status = 'failed', error = NULL WHERE job = 5",
        "UPDATE attempt SET request_id = NULL WHERE job = (SELECT 5 FROM job WHERE state = 'done' LIMIT 1)",
    ],
)
def test_a_contradiction_is_named(audited: Audited, root: Path, statement: str) -> None:
    if "request_id" in statement:
        change(root, "UPDATE job SET state = 'submitted' WHERE job = 5")
    change(root, statement)
    assert Kind.JOB_INCONSISTENT in {finding.kind for finding in audited().findings}


def test_a_ledger_that_is_damaged_deep_inside_is_found(audited: Audited, root: Path) -> None:
    # Deep inside an index, where reading the tables does not come along.
    change(root, "PRAGMA wal_checkpoint(TRUNCATE)")
    change(root, "PRAGMA writable_schema = ON")
    ledger = root / "run.db"
    content = bytearray(ledger.read_bytes())
    at = content.rindex(b"job-3")
    content[at : at + 5] = b"job-9"
    ledger.write_bytes(content)
    try:
        found = audited()
    except LedgerError as error:
        assert "damaged" in str(error)  # noqa: PT017 (either way it is refused)
    else:
        assert found.findings


def test_a_total_that_does_not_add_up_is_found_and_counted_anew(audited: Audited, root: Path) -> None:
    change(root, "UPDATE total SET value = value + 3 WHERE name = 'succeeded'")
    (found,) = audited().findings
    assert (found.kind, found.remedy, found.subject) == (Kind.TOTAL_WRONG, Remedy.RECOUNT, "total succeeded")
    done = CliRunner().invoke(verify, [str(root), "--repair"])
    assert "counted anew" in done.stderr
    assert audited().findings == ()


def test_every_kind_has_a_remedy() -> None:
    assert set(REMEDIES) == set(Kind)
