"""A provider that serves the bytes itself, to the key's owner alone, and holds polls: a whole batch, and the key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.crash.batch import Plan, batch
from tests.crash.harness import ENGINE, bill
from tests.crash.kills import crash_and_finish
from tests.dialects.vendors import speaking

pytestmark = pytest.mark.sockets

KEY = "SG_0123456789abcdef"
JOBS = 50
DESCRIPTION = Path(__file__).with_name("openai.toml")
QUICK = (
    f"provider.preset='{DESCRIPTION}'",
    "provider.model=sora-2",
    "limits.submits_per_minute=3000",
    "limits.polls_per_minute=6000",
    "polling.expected_duration_s=0.4",
    "storage.reserve_bytes=0",
)
WORK = (*speaking("openai"), "work.duration_median_s=0.4", "work.status_held_s=1")


def command_of(source: Path, run_dir: Path, addresses: dict[str, str], plan: Plan) -> list[str]:
    key_file = source.with_name("key")
    key_file.write_text(KEY)
    key_file.chmod(0o600)
    settings = (f"provider.base_url={addresses['base_url']}", f"provider.api_key_file='{key_file}'", *plan.settings)
    command = [*ENGINE, "run", str(source), "--run-dir", str(run_dir), "--quiet"]
    return [*command, *(word for setting in settings for word in ("--set", setting))]


def test_a_batch_is_accounted_for_to_the_last_job(tmp_path: Path) -> None:
    """The base URL's own host is asked for files although it is on this machine, which no output host may be."""
    plan = Plan(
        jobs=JOBS,
        scenario_settings=(
            *WORK,
            "output.file_bytes=200000",
            "rate.requests_per_window=20",
            "rate.window_s=1",
            "rate.header=retry_after",
            "faults.failed_job=0.1",
            "faults.poll_error_500=0.05",
            "faults.download_dropped=0.2",
            "faults.download_error_503=0.1",
            "faults.download_html=0.1",
            "fault_details.repeats_max=2",
        ),
        settings=QUICK,
    )
    place = tmp_path / "batch"
    verdict = crash_and_finish(place, plan, kills=2, seed=3, pause_s=(1.0, 1.5), command_of=command_of)
    broken = (verdict.paid_twice, verdict.doubled, verdict.missing, verdict.torn, verdict.bad_files, verdict.parts_left)
    assert not any(broken), verdict.as_json()
    assert verdict.kills == 2
    assert verdict.lost <= verdict.unknown <= verdict.kills
    assert sum(verdict.statuses.values()) + verdict.unknown == JOBS
    assert verdict.statuses["succeeded"] >= JOBS // 2
    lines = [json.loads(line) for line in (place / "jobs.run" / "results.jsonl").read_bytes().splitlines()]
    assert {file["content_type"] for line in lines for file in line["files"]} == {"video/mp4"}
    messages = {line["error"]["message"] for line in lines if line["error"]}
    assert messages == {"Model inference failed: no face was found in the image; generation_failed"}


def test_the_key_follows_no_redirect_to_another_host_and_is_written_nowhere(tmp_path: Path) -> None:
    plan = Plan(
        jobs=8,
        scenario_settings=(*WORK, "faults.download_redirect=1"),
        settings=(*QUICK, "downloads.allow_private_hosts=true"),
    )
    place = tmp_path / "batch"
    with batch(place, plan, command_of=command_of) as run:
        verdict = run.finish()
        told = bill(run.addresses)
    assert (verdict.exit_code, verdict.is_clean, verdict.statuses) == (0, True, {"succeeded": 8})
    assert told["faults"]["download_redirect"] == 8
    assert (told["key_leaks"], told["internal_errors"]) == (0, 0)
    written = [path for path in (place / "jobs.run").rglob("*") if path.is_file()]
    assert written
    assert [path.name for path in written if KEY.encode() in path.read_bytes()] == []


def test_a_further_provider_is_shown_its_own_key_for_its_files(tmp_path: Path) -> None:
    def beside_another(source: Path, run_dir: Path, addresses: dict[str, str], plan: Plan) -> list[str]:
        command = command_of(source, run_dir, {"base_url": "http://127.0.0.1:9"}, plan)  # where nobody listens
        further = {
            "preset": DESCRIPTION,
            "base_url": addresses["base_url"],
            "api_key_file": source.with_name("key"),
            "polling.expected_duration_s": 0.4,
        }
        shown = {"preset": "'{}'", "api_key_file": "'{}'"}
        settings = [f"providers.videos.{key}={shown.get(key, '{}').format(value)}" for key, value in further.items()]
        return [*command, *(word for setting in settings for word in ("--set", setting))]

    plan = Plan(jobs=4, scenario_settings=WORK, settings=("provider.preset=replicate", "storage.reserve_bytes=0"))
    place = tmp_path / "batch"
    with batch(place, plan, command_of=beside_another) as run:
        lines = [{**json.loads(line), "model": "videos:sora-2"} for line in run.source.read_text().splitlines()]
        run.source.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        verdict = run.finish()
    assert (verdict.exit_code, verdict.is_clean, verdict.statuses) == (0, True, {"succeeded": 4})


def test_a_redirect_to_a_private_host_is_refused(tmp_path: Path) -> None:
    plan = Plan(jobs=2, scenario_settings=(*WORK, "faults.download_redirect=1"), settings=QUICK)
    place = tmp_path / "batch"
    with batch(place, plan, command_of=command_of) as run:
        run.finish()
    lines = [json.loads(line) for line in (place / "jobs.run" / "results.jsonl").read_bytes().splitlines()]
    assert {line["error"]["kind"] for line in lines} == {"blocked_address"}
