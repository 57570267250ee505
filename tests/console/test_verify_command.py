"""``engine verify``: what a person sees, and what the repair does and does not do."""

from __future__ import annotations

import hashlib
import json
import shlex
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.console.conftest import engine, results, some_jobs, started
from tests.waiting import wait_in_thread_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.console.conftest import Provider

pytestmark = [pytest.mark.processes, pytest.mark.sockets]


@pytest.fixture
def run_dir(provider: Provider, jobs: Path, tmp_path: Path) -> Path:
    assert engine("run", jobs, *provider.options(), cwd=tmp_path).code == 0
    return tmp_path / "jobs.run"


def _files(run_dir: Path) -> list[Path]:
    return sorted(path for path in (run_dir / "media").iterdir() if path.is_file())


def test_a_whole_run_ends_with_0(run_dir: Path) -> None:
    done = engine("verify", run_dir, cwd=run_dir.parent)
    assert done.code == 0
    assert "all as the ledger says" in done.out


def test_each_difference_is_printed_with_the_command_that_repairs_it(run_dir: Path) -> None:
    _files(run_dir)[0].unlink()
    (run_dir / "results.jsonl").write_bytes(b"")
    done = engine("verify", run_dir, cwd=run_dir.parent)
    assert done.code == 1
    assert f"file_missing     media/{_files(run_dir)[0].name}" not in done.out
    assert "file_missing" in done.out
    assert done.out.startswith("looked for 3 result lines and 3 files (")
    *_, blank, command = done.out.splitlines()
    assert blank == ""
    assert command.startswith(f"engine verify {run_dir} --repair   downloads 1 file anew, writes the output anew")


def test_a_printed_command_repairs_what_it_says(provider: Provider, run_dir: Path) -> None:
    (run_dir / "results.jsonl").write_bytes(b"")
    printed = engine("verify", run_dir, cwd=run_dir.parent).out.splitlines()[-1]
    words = shlex.split(printed.split("   ")[0])
    assert engine(*words[1:], cwd=run_dir.parent).code == 0
    assert engine("verify", run_dir, cwd=run_dir.parent).code == 0
    assert provider.bill()["paid"] >= 3


def test_the_repair_downloads_again_rebuilds_and_pays_nothing(provider: Provider, run_dir: Path) -> None:
    missing, truncated, altered = _files(run_dir)
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in _files(run_dir)}
    missing.unlink()
    truncated.write_bytes(truncated.read_bytes()[:500])
    altered.write_bytes(altered.read_bytes()[::-1])
    (run_dir / "results.jsonl").unlink()
    paid = provider.bill()["paid"]
    done = engine("verify", run_dir, "--repair", cwd=run_dir.parent)
    assert (done.code, provider.bill()["paid"]) == (0, paid), done.err
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in _files(run_dir)} == digests
    assert [line["status"] for line in results(run_dir)] == ["succeeded"] * 3
    assert len(list((run_dir / "media" / "set-aside").iterdir())) == 2


def test_the_repair_submits_nothing_although_jobs_are_waiting(provider: Provider, tmp_path: Path) -> None:
    jobs = some_jobs(tmp_path, 4)
    assert engine("run", jobs, "--max-jobs", "2", *provider.options(), cwd=tmp_path).code == 3
    run_dir = tmp_path / "jobs.run"
    _files(run_dir)[0].unlink()
    paid = provider.bill()["paid"]
    assert engine("verify", run_dir, "--repair", cwd=tmp_path).code == 0
    assert provider.bill()["paid"] == paid
    assert len(_files(run_dir)) == 2


def test_a_file_that_is_gone_at_the_provider_too_is_said_to_be(run_dir: Path) -> None:
    lost = _files(run_dir)[0]
    with closing(sqlite3.connect(run_dir / "run.db", isolation_level=None)) as db:
        db.execute("UPDATE attempt SET media = CAST(json_set(media, '$.urls', json('[]')) AS BLOB)")
    lost.unlink()
    done = engine("verify", run_dir, "--repair", cwd=run_dir.parent)
    assert done.code == 1
    assert "file_missing" in done.out


def test_json_names_every_finding_and_its_remedy(run_dir: Path) -> None:
    _files(run_dir)[0].unlink()
    done = engine("verify", run_dir, "--json", "--quick", cwd=run_dir.parent)
    found = json.loads(done.out)
    assert (found["version"], found["files"], found["quick"]) == (1, 3, True)
    assert [(f["kind"], f["remedy"]) for f in found["findings"]] == [("file_missing", "download")]


def test_beside_a_running_process_it_looks_and_may_not_repair(slow_provider: Provider, tmp_path: Path) -> None:
    jobs = some_jobs(tmp_path, 2)
    with started("run", jobs, *slow_provider.options(), cwd=tmp_path):
        log = tmp_path / "jobs.run" / "run.log"
        wait_in_thread_until(lambda: log.is_file() and '"submitted"' in log.read_text(), description="it is at work")
        assert engine("verify", "jobs.run", cwd=tmp_path).code == 0
        (tmp_path / "jobs.run" / "results.jsonl").write_bytes(b"")


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    done = engine("verify", tmp_path, cwd=tmp_path)
    assert done.code == 2
    assert "is not a run directory" in done.err
