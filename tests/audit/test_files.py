"""Files that are not what the ledger says, each kind by itself."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from engine.audit.audit import jobs_to_download
from engine.audit.findings import Kind
from engine.job.records import decode_json
from engine.media.names import media_name
from tests.audit.conftest import change

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.audit.conftest import Audited


def first_file(root: Path) -> Path:
    return min((root / "media").iterdir())


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replaced_by_a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere.part"))
    path.symlink_to("elsewhere.part")


def replaced_by_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def test_a_run_as_the_engine_left_it_is_without_a_finding(audited: Audited) -> None:
    found = audited()
    assert (found.findings, found.lines, found.files) == ((), 6, 6)
    assert found.bytes > 0


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (lambda path: path.unlink(), Kind.FILE_MISSING),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), Kind.FILE_TRUNCATED),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), Kind.FILE_ALTERED),
        (flipped, Kind.FILE_ALTERED),
        (replaced_by_a_link, Kind.FILE_ALTERED),
        (replaced_by_a_directory, Kind.FILE_ALTERED),
    ],
)
def test_a_file_that_is_missing_truncated_or_altered_is_named_with_its_job(
    audited: Audited, root: Path, damage: Callable[[Path], object], kind: Kind
) -> None:
    path = first_file(root)
    damage(path)
    (finding,) = audited().findings
    assert (finding.kind, finding.subject) == (kind, f"media/{path.name}")
    assert finding.id is not None
    assert path.name.startswith(f"{finding.id}-")
    assert jobs_to_download(audited()) == (finding.job,)


def test_a_quick_audit_reads_no_file(audited: Audited, root: Path) -> None:
    flipped(first_file(root))
    assert audited(quick=True).findings == ()


def test_a_file_of_two_jobs_is_doubled(audited: Audited, root: Path) -> None:
    change(root, "UPDATE file SET path = (SELECT path FROM file WHERE job = 0) WHERE job = 1")
    kinds = {finding.kind for finding in audited().findings}
    assert Kind.FILE_DOUBLED in kinds


def test_what_no_job_has_is_an_orphan_and_an_unfinished_download_is_not(audited: Audited, root: Path) -> None:
    (root / "media" / "stranger.mp4").write_bytes(b"?")
    (root / "media" / "half.mp4.part").write_bytes(b"?")
    (finding,) = audited().findings
    assert (finding.kind, finding.subject) == (Kind.FILE_ORPHANED, "media/stranger.mp4")


def test_beside_a_running_process_nothing_is_an_orphan(audited: Audited, root: Path) -> None:
    (root / "media" / "stranger.mp4").write_bytes(b"?")
    assert audited(at_work=True).findings == ()


@pytest.mark.parametrize("number", ["", "-2"])
@pytest.mark.parametrize("job_id", ["clip-1", "face.png", "take 2.5"])
def test_what_a_killed_run_had_stored_and_not_recorded_is_no_orphan(
    audited: Audited, root: Path, job_id: str, number: str
) -> None:
    with closing(sqlite3.connect(root / "run.db")) as db:
        (request_id,) = db.execute("SELECT request_id FROM attempt WHERE job = 0").fetchone()
        (path,) = db.execute("SELECT path FROM file WHERE job = 0").fetchone()
    (root / path).rename(root / "media" / f"{media_name(job_id, request_id, 0)}{number}.mp4")
    change(root, "UPDATE input SET id = ? WHERE job = 0", job_id)
    change(root, "DELETE FROM file WHERE job = 0")
    change(root, "UPDATE job SET state = 'ready', status = NULL WHERE job = 0")
    assert [finding for finding in audited().findings if finding.kind is Kind.FILE_ORPHANED] == []


def test_the_media_of_a_result_are_what_the_ledger_keeps(root: Path) -> None:
    # The orphans rest on this shape; a change of it must be seen here.
    with closing(sqlite3.connect(root / "run.db")) as db:
        (media,) = db.execute("SELECT media FROM attempt LIMIT 1").fetchone()
    assert len(decode_json(media)["urls"]) == 1
