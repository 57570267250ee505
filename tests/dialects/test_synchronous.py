"""The preset whose submissions block until their end: batches with kills, 429s and lost replies, each modality."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from tests.crash.batch import Plan, batch
from tests.crash.harness import ENGINE, finish
from tests.crash.kills import crash_and_finish
from tests.dialects.vendors import SYNCHRONOUS, speaking

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.sockets

KEY = "SG_0123456789abcdef"
QUICK = (
    f"provider.preset={SYNCHRONOUS}",
    "limits.submits_per_minute=3000",
    "downloads.allow_private_hosts=true",
    "storage.reserve_bytes=0",
    "recovery.grace_s=1",
)
WORK = ("work.duration_median_s=0.3", "rate.requests_per_window=0")


def command_of(source: Path, run_dir: Path, addresses: dict[str, str], plan: Plan) -> list[str]:
    key_file = source.with_name("key")
    key_file.write_text(KEY)
    key_file.chmod(0o600)
    settings = (
        f"provider.base_url={addresses['base_url']}",
        f"provider.history_url={addresses['history_url']}",
        f"provider.api_key_file='{key_file}'",
        *plan.settings,
    )
    command = [*ENGINE, "run", str(source), "--run-dir", str(run_dir), "--quiet"]
    return [*command, *(word for setting in settings for word in ("--set", setting))]


def plan_of(shape: str, model: str, *scenario_settings: str, jobs: int = 8) -> Plan:
    return Plan(
        jobs=jobs,
        scenario_settings=(*speaking(SYNCHRONOUS), f"output.shape={shape}", *WORK, *scenario_settings),
        settings=(*QUICK, f"provider.model={model}"),
    )


def lines_of(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "jobs.run" / "results.jsonl").read_bytes().splitlines()]


def query(directory: Path, sql: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(directory / "jobs.run" / "run.db")) as db:
        return db.execute(sql).fetchall()


def test_a_batch_under_kills_and_lost_replies_is_paid_once_and_comes_home(tmp_path: Path) -> None:
    plan = plan_of(
        "image",
        "seedream-4.5",
        "rate.requests_per_window=20",
        "rate.window_s=1",
        "rate.header=retry_after",
        "faults.reply_lost_before=0.05",
        "faults.reply_lost_after=0.1",
        "faults.gateway_timeout_after=0.05",
        "faults.reply_truncated=0.05",
        "faults.reply_without_id=0.05",
        "faults.reply_with_old_id=0.05",
        "faults.error_500=0.05",
        "faults.failed_job=0.1",
        jobs=50,
    )
    place = tmp_path / "batch"
    verdict = crash_and_finish(place, plan, kills=2, seed=3, pause_s=(1.3, 1.8), command_of=command_of)
    assert verdict.is_clean, verdict.as_json()
    assert verdict.kills == 2
    assert sum(verdict.statuses.values()) + verdict.unknown == plan.jobs
    assert verdict.statuses["succeeded"] >= plan.jobs // 2
    lines = lines_of(place)
    assert {file["content_type"] for line in lines for file in line["files"]} == {"image/png"}
    # A failure whose reply came, and one whose reply was lost and that the history told.
    assert {line["error"]["kind"] for line in lines if line["error"]} <= {"rejected", "generation_failed"}


@pytest.mark.parametrize(
    ("shape", "model", "kind"),
    [
        ("image", "seedream-4.5", "image/png"),
        ("audio", "a-voice", "audio/wav"),
        ("documented", "kling-2.6", "video/mp4"),
    ],
)
def test_the_bytes_of_a_reply_become_a_file_and_stand_nowhere_else(
    tmp_path: Path, shape: str, model: str, kind: str
) -> None:
    place = tmp_path / "batch"
    with batch(place, plan_of(shape, model), command_of=command_of) as run:
        verdict = run.finish()
    assert (verdict.exit_code, verdict.is_clean, verdict.statuses) == (0, True, {"succeeded": 8})
    for line in lines_of(place):
        (file,) = line["files"]
        assert (file["content_type"], file["url"], line["output"]) == (kind, f"data:{kind};base64,", None)
        assert line["cost_usd"] > 0
        assert line["timings"]["inference_s"] > 0
    assert {media for (media,) in query(place, "SELECT json_extract(media, '$.urls[0]') FROM attempt")} == {
        f"data:{kind};base64,"
    }
    said = "".join(path.read_text() for path in (place / "jobs.run").glob("*.log"))
    assert "submitted" in said
    assert "base64" not in said
    assert KEY not in said


def test_a_text_is_kept_as_the_json_it_came_as(tmp_path: Path) -> None:
    place = tmp_path / "batch"
    with batch(place, plan_of("text", "gpt-5.5", "faults.reply_lost_after=0.3"), command_of=command_of) as run:
        verdict = run.finish()
    assert verdict.exit_code == 0
    assert verdict.paid_twice == 0
    lines = lines_of(place)
    assert [line["status"] for line in lines] == ["succeeded"] * 8
    assert any("An answer to request" in str(line["output"].get("output")) for line in lines)
    assert all(line["files"] == [] for line in lines)


def test_json_without_a_file_fails_as_no_media_and_was_paid_for(tmp_path: Path) -> None:
    place = tmp_path / "batch"
    with batch(place, plan_of("none", "seedream-4.5"), command_of=command_of) as run:
        verdict = run.finish()
    assert verdict.exit_code == 1
    assert {line["error"]["kind"] for line in lines_of(place)} == {"no_media"}
    assert all(line["error"]["paid"] for line in lines_of(place))


def test_a_plan_counts_one_request_for_each_job(tmp_path: Path) -> None:
    (tmp_path / "jobs.jsonl").write_text('{"params": {"prompt": "a cat"}}\n{"params": {"prompt": "a dog"}}\n')
    settings = ("--set", f"provider.preset={SYNCHRONOUS}", "--set", "provider.submit_timeout_s=20")
    planned = finish([*ENGINE, "plan", str(tmp_path / "jobs.jsonl"), *settings, "--json"])
    told = json.loads(planned.stdout)
    assert (told["submissions"], told["requests"], told["in_flight_safe"], told["warnings"]) == (2, 2, 200, [])


def test_a_lost_file_is_had_from_the_history_once_its_reply_is_gone(tmp_path: Path) -> None:
    place = tmp_path / "batch"
    with batch(place, plan_of("image", "seedream-4.5"), command_of=command_of) as run:
        assert run.finish().exit_code == 0
        next((place / "jobs.run" / "media").iterdir()).unlink()
        mended = finish([*ENGINE, "verify", str(place / "jobs.run"), "--repair"])
        verdict = run.finish()
    assert "1" in mended.stdout + mended.stderr
    assert (verdict.exit_code, verdict.is_clean, verdict.statuses) == (0, True, {"succeeded": 8})
    urls = [file["url"].partition(":")[0] for line in lines_of(place) for file in line["files"]]
    assert sorted(urls) == ["data"] * 7 + ["http"]
