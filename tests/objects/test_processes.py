"""What a person meets whose media go to a bucket: kills, refusals in words, an audit and its repair."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from engine.audit.findings import Kind
from tests.console.conftest import Ended, Provider, engine, environment, provider_with, results, some_jobs, started
from tests.objects.damage import damage
from tests.store_server import ENVIRONMENT
from tests.waiting import wait_in_thread_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.store_server import StoreServer

pytestmark = [pytest.mark.processes, pytest.mark.sockets]

JOBS = 20


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with provider_with("work.duration_median_s=0.2", "rate.requests_per_window=0") as quick:
        yield quick


def command(provider: Provider, server: StoreServer, root: str, *settings: str) -> list[str]:
    return provider.options("limits.submits_per_minute=600", *server.settings(root), *settings)


def with_credentials(*words: str | Path, cwd: Path) -> Ended:
    return engine(*words, cwd=cwd, env=environment(**ENVIRONMENT))


def _films(client: Any, bucket: str) -> int:
    listed = client.list_objects_v2(Bucket=bucket).get("Contents", [])
    return sum(entry["Key"].endswith(".mp4") for entry in listed)


def test_a_batch_killed_twice_is_paid_once_and_every_object_is_whole(
    provider: Provider, server: StoreServer, bucket: str, tmp_path: Path
) -> None:
    jobs, paid = some_jobs(tmp_path, JOBS), provider.bill()["paid"]
    words = ["run", str(jobs), *command(provider, server, f"s3://{bucket}/nights")]
    for there in (3, 9):
        with server.client() as client, started(*words, cwd=tmp_path, env=environment(**ENVIRONMENT)) as process:
            wait_in_thread_until(
                lambda client=client, there=there: _films(client, bucket) >= there,  # type: ignore[misc]
                description=f"{there} objects are there",
                within_s=60,
            )
            process.kill()
    done = with_credentials(*words, cwd=tmp_path)
    assert done.code == 0, done.err
    lines = results(tmp_path / "jobs.run")
    assert {line["status"] for line in lines} == {"succeeded"}
    assert len(lines) == JOBS
    assert provider.bill()["paid"] - paid == JOBS
    objects = server.objects(bucket)
    said = {file["path"]: file["sha256"] for line in lines for file in line["files"]}
    assert said == {f"s3://{bucket}/{key}": hashlib.sha256(body).hexdigest() for key, body in objects.items()}
    assert len(said) == JOBS
    assert [path.name for path in (tmp_path / "jobs.run" / "media").iterdir()] == []
    verified = with_credentials("verify", "jobs.run", cwd=tmp_path)
    assert verified.code == 0, verified.out
    assert f"{JOBS} files" in verified.out


def test_verify_finds_and_mends_a_removed_and_a_changed_object(
    provider: Provider, server: StoreServer, bucket: str, tmp_path: Path
) -> None:
    jobs, paid = some_jobs(tmp_path, 4), provider.bill()["paid"]
    assert with_credentials("run", jobs, *command(provider, server, f"s3://{bucket}"), cwd=tmp_path).code == 0
    before = server.objects(bucket)
    removed, changed = sorted(before)[:2]
    damage(server, bucket, Kind.FILE_MISSING, removed)
    damage(server, bucket, Kind.FILE_ALTERED, changed)
    found = with_credentials("verify", "jobs.run", cwd=tmp_path)
    assert found.code == 1
    assert f"file_missing     s3://{bucket}/{removed} " in found.out
    assert f"file_altered     s3://{bucket}/{changed} " in found.out
    assert "engine verify jobs.run --repair" in found.out
    mended = with_credentials("verify", "jobs.run", "--repair", cwd=tmp_path)
    assert mended.code == 0, mended.out + mended.err
    assert f"set aside: s3://{bucket}/set-aside/{changed}" in mended.err
    after = server.objects(bucket)
    assert len(after.pop(f"set-aside/{changed}")) == len(before[changed])
    assert after.keys() == before.keys()
    assert with_credentials("verify", "jobs.run", cwd=tmp_path).code == 0
    assert provider.bill()["paid"] - paid == 4
    exported = with_credentials("export", "jobs.run", "--columns", "file", cwd=tmp_path).out.splitlines()[1:]
    assert sorted(exported) == sorted(f"s3://{bucket}/{key}" for key in after)
    page = with_credentials("report", "jobs.run", "--format", "json", cwd=tmp_path)
    assert f"s3://{bucket}/{removed}" in page.out


def test_a_wrong_bucket_ends_the_run_before_anything_is_submitted(
    provider: Provider, server: StoreServer, tmp_path: Path
) -> None:
    jobs, before = some_jobs(tmp_path, 3), provider.bill()["submits"]
    done = with_credentials("run", jobs, *command(provider, server, "s3://no-such-bucket/x"), cwd=tmp_path)
    assert done.code == 4
    assert "s3://no-such-bucket/x has no such bucket" in done.err
    assert "hint: create it, or correct storage.root" in done.err
    assert provider.bill()["submits"] == before


def test_the_doctor_tries_the_store(provider: Provider, server: StoreServer, bucket: str, tmp_path: Path) -> None:
    def check(root: str) -> dict[str, str]:
        done = with_credentials("doctor", "--json", *command(provider, server, root), cwd=tmp_path)
        (found,) = [check for check in json.loads(done.out)["checks"] if check["check"] == "media_store"]
        return dict(found)

    assert check(f"s3://{bucket}/nights")["level"] == "ok"
    assert server.objects(bucket) == {}
    wrong = check("s3://no-such-bucket")
    assert (wrong["level"], wrong["message"]) == ("problem", "s3://no-such-bucket has no such bucket")


def test_credentials_stand_in_no_file_of_a_run(
    provider: Provider, server: StoreServer, bucket: str, tmp_path: Path
) -> None:
    jobs = some_jobs(tmp_path, 2)
    assert with_credentials("run", jobs, *command(provider, server, f"s3://{bucket}"), cwd=tmp_path).code == 0
    secret = ENVIRONMENT["AWS_SECRET_ACCESS_KEY"].encode()
    holding = [path for path in tmp_path.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert holding == []
