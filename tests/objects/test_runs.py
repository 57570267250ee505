"""Whole runs whose media go to a bucket: in this process, over real HTTP to a provider and to a store."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import pytest

from engine.audit.audit import audit
from engine.audit.findings import Kind
from engine.disk.run_dir import RunDir
from engine.errors import EngineError
from engine.media.failures import StoreRefusedError
from engine.media.objects import shipper as shipper_module
from engine.scheduling import step_maker
from tests.objects.damage import damage
from tests.runs.conftest import Outcome, paid, provider, run, write_jobs
from tests.store_server import StoreServer, store_server
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from engine.run.run import Run

pytestmark = pytest.mark.sockets


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    return tmp_path / "jobs.jsonl"


def waiting(jobs: Path) -> list[Path]:
    """Return the whole files that wait on this disk."""
    return [path for path in (jobs.with_suffix(".run") / "media").iterdir() if path.suffix == ".mp4"]


def stored_as_said(outcome: Outcome, server: StoreServer, bucket: str) -> bool:
    """Say whether every file of every line is an object with its bytes, and no other object is there."""
    objects = server.objects(bucket)
    said = {
        file["path"].removeprefix(f"s3://{bucket}/"): (file["bytes"], file["sha256"])
        for line in outcome.lines
        for file in line["files"]
    }
    return said == {key: (len(body), hashlib.sha256(body).hexdigest()) for key, body in objects.items()}


async def test_the_files_of_a_batch_are_objects_and_none_stays_on_the_disk(
    jobs: Path, server: StoreServer, bucket: str
) -> None:
    write_jobs(jobs, 12)
    async with provider() as simulator:
        outcome = await run(simulator, jobs, *server.settings(f"s3://{bucket}/nights"))
        assert paid(simulator) == 12
    assert (outcome.exit_code, outcome.statuses["succeeded"]) == (0, 12)
    assert stored_as_said(outcome, server, bucket)
    assert outcome.lines[0]["files"][0]["path"].startswith(f"s3://{bucket}/nights/job-")
    assert waiting(jobs) == []


@pytest.mark.parametrize("root", ["s3://no-such-bucket/x", "s3://no-such-bucket"])
async def test_a_wrong_bucket_costs_nothing(jobs: Path, server: StoreServer, root: str) -> None:
    write_jobs(jobs, 3)
    async with provider() as simulator:
        with pytest.raises(StoreRefusedError, match="has no such bucket"):
            await run(simulator, jobs, *server.settings(root))
        assert simulator.bill().submits == 0


async def test_a_store_that_is_away_holds_results_and_loses_none(jobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipper_module, "PAUSE_S", 0.2)
    monkeypatch.setattr(step_maker, "RETRY_MAX_S", 1.0)
    write_jobs(jobs, 12)
    with store_server("nights") as server:

        async def come_back() -> None:
            await wait_until(lambda: len(waiting(jobs)) == 12, description="every result waits on this disk")
            await asyncio.to_thread(server.start, "nights")

        returning: list[asyncio.Task[None]] = []

        def go_away(_run: Run) -> None:
            server.stop()
            returning.append(asyncio.create_task(come_back()))

        async with provider() as simulator:
            outcome = await run(simulator, jobs, *server.settings("s3://nights"), watch=go_away)
            await asyncio.gather(*returning)
            assert paid(simulator) == 12
        assert outcome.exit_code == 0
        assert stored_as_said(outcome, server, "nights")
    assert waiting(jobs) == []
    told = [words for words in outcome.said if "s3://nights" in words]
    assert len(told) == 2
    assert "does not answer" in told[0]
    assert "finished files wait in" in told[0]
    assert told[1] == "s3://nights answers again"


async def test_what_waits_on_the_disk_is_published_by_the_next_process_without_its_url(
    jobs: Path, server: StoreServer, bucket: str
) -> None:
    write_jobs(jobs, 6)
    settings = server.settings(f"s3://{bucket}/nights")

    def deny(_run: Run) -> None:
        server.enforce_rights(enforced=True)

    async with provider() as simulator:
        try:
            refused = await run(simulator, jobs, *settings, watch=deny)
        finally:
            server.enforce_rights(enforced=False)
        assert refused.exit_code == 4
        assert refused.stop is not None
        assert refused.stop.kind == "store_refused"
        assert refused.lines == []
        held, served = len(waiting(jobs)), simulator.bill().downloads
        assert held == paid(simulator)
        assert held > 0
        outcome = await run(simulator, jobs, *settings)
        assert paid(simulator) == 6
        # Nothing that waited here was downloaded a second time.
        assert simulator.bill().downloads - served == 6 - held
    assert outcome.exit_code == 0
    assert stored_as_said(outcome, server, bucket)


async def test_a_waiting_file_that_was_damaged_is_downloaded_again(
    jobs: Path, server: StoreServer, bucket: str
) -> None:
    write_jobs(jobs, 1)
    settings = server.settings(f"s3://{bucket}/nights")
    async with provider() as simulator:
        try:
            await run(simulator, jobs, *settings, watch=lambda _run: server.enforce_rights(enforced=True))
        finally:
            server.enforce_rights(enforced=False)
        (held,) = waiting(jobs)
        await asyncio.to_thread(held.write_bytes, b"\0\0\0\x18ftypmp42 and then nothing of a film")
        outcome = await run(simulator, jobs, *settings)
    assert outcome.exit_code == 0
    assert stored_as_said(outcome, server, bucket)


@pytest.mark.parametrize("listed", [True, False])
async def test_the_audit_finds_each_kind_of_damage(
    jobs: Path, server: StoreServer, bucket: str, monkeypatch: pytest.MonkeyPatch, *, listed: bool
) -> None:
    if not listed:
        monkeypatch.setattr("engine.audit.object_audit.LISTED_MAX", 1)
    write_jobs(jobs, 4)
    async with provider() as simulator:
        await run(simulator, jobs, *server.settings(f"s3://{bucket}/nights"))
    directory = RunDir(jobs.with_suffix(".run"))

    def audited(*, quick: bool = False) -> list[tuple[Kind, str]]:
        found = audit(directory, quick=quick, at_work=False)
        return sorted((finding.kind, finding.subject) for finding in found.findings)

    assert await asyncio.to_thread(audited) == []
    kinds = (Kind.FILE_ALTERED, Kind.FILE_MISSING, Kind.FILE_TRUNCATED)
    keys = sorted(server.objects(bucket))[:3]
    for kind, key in zip(kinds, keys, strict=True):
        damage(server, bucket, kind, key)
    expected = [(kind, f"s3://{bucket}/{key}") for kind, key in zip(kinds, keys, strict=True)]
    assert await asyncio.to_thread(audited) == expected
    assert await asyncio.to_thread(audited, quick=True) == expected[1:]


async def test_an_orphan_is_what_this_run_put_there_and_nobody_else(
    jobs: Path, server: StoreServer, bucket: str
) -> None:
    write_jobs(jobs, 2)
    async with provider() as simulator:
        await run(simulator, jobs, *server.settings(f"s3://{bucket}/nights"))
    key = min(server.objects(bucket))
    ours = key.replace(".mp4", "-2.mp4")
    with server.client() as client:
        for name in (ours, "nights/somebody-elses-0123456789ab.mp4", f"elsewhere/{ours}"):
            client.put_object(Bucket=bucket, Key=name, Body=b"x")
    found = await asyncio.to_thread(audit, RunDir(jobs.with_suffix(".run")), quick=True, at_work=False)
    assert [(one.kind, one.subject) for one in found.findings] == [(Kind.FILE_ORPHANED, f"s3://{bucket}/{ours}")]


async def test_an_audit_of_a_store_that_is_away_is_no_finding(jobs: Path) -> None:
    write_jobs(jobs, 1)
    with store_server("nights") as server:
        async with provider() as simulator:
            await run(simulator, jobs, *server.settings("s3://nights"))
    with pytest.raises(EngineError, match="does not answer"):
        await asyncio.to_thread(audit, RunDir(jobs.with_suffix(".run")), quick=True, at_work=False)
