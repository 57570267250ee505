"""The engine by a vendor's preset against a server that speaks like the vendor: kills, 429s, failures, all accounted
for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.crash.batch import Plan, batch
from tests.crash.harness import ENGINE, finish, operate
from tests.crash.kills import crash_and_finish
from tests.dialects.vendors import MODELS, speaking

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.sockets

JOBS = 50
QUICK = (
    "limits.submits_per_minute=3000",
    "limits.polls_per_minute=6000",
    "polling.expected_duration_s=0.4",
    "downloads.allow_private_hosts=true",
    "storage.reserve_bytes=0",
)


def command_of(source: Path, run_dir: Path, addresses: dict[str, str], plan: Plan) -> list[str]:
    key_file = source.with_name("key")
    key_file.write_text("SG_0123456789abcdef")
    key_file.chmod(0o600)
    settings = (f"provider.base_url={addresses['base_url']}", f"provider.api_key_file='{key_file}'", *plan.settings)
    command = [*ENGINE, "run", str(source), "--run-dir", str(run_dir), "--quiet"]
    return [*command, *(word for setting in settings for word in ("--set", setting))]


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_is_accounted_for_to_the_last_job(name: str, tmp_path: Path) -> None:
    plan = Plan(
        jobs=JOBS,
        scenario_settings=(
            *speaking(name),
            "work.duration_median_s=0.4",
            "rate.requests_per_window=20",
            "rate.window_s=1",
            "rate.header=retry_after",
            "faults.failed_job=0.1",
            "faults.poll_error_500=0.05",
        ),
        settings=(f"provider.preset={name}", f"provider.model={MODELS[name]}", *QUICK),
    )
    verdict = crash_and_finish(tmp_path / "batch", plan, kills=2, seed=3, pause_s=(1.0, 1.5), command_of=command_of)
    broken = (verdict.paid_twice, verdict.doubled, verdict.missing, verdict.torn, verdict.bad_files, verdict.parts_left)
    assert not any(broken), verdict.as_json()
    assert verdict.kills == 2
    # There is no history to settle a kill between a submission and its reply with: it is kept as unknown, and said so.
    assert verdict.lost <= verdict.unknown <= verdict.kills
    assert sum(verdict.statuses.values()) + verdict.unknown == JOBS
    assert verdict.statuses["failed"] <= JOBS // 4
    assert verdict.exit_code == (3 if verdict.unknown else 1 if verdict.statuses["failed"] else 0)
    lines = (tmp_path / "batch" / "jobs.run" / "results.jsonl").read_bytes().splitlines()
    assert {json.loads(line)["model"] for line in lines} == {MODELS[name]}


def test_a_lost_reply_is_not_waited_for_where_nothing_could_show_it(tmp_path: Path) -> None:
    plan = Plan(
        jobs=20,
        scenario_settings=(*speaking("luma"), "work.duration_median_s=0.4", "faults.reply_lost_after=0.2"),
        settings=("provider.preset=luma", "provider.model=ray-2", *QUICK),  # with the default grace of 15 minutes
    )
    with batch(tmp_path / "batch", plan, command_of=command_of) as run:
        verdict = run.finish()
    assert (verdict.exit_code, verdict.paid_twice, verdict.tracebacks) == (3, 0, 0)
    assert verdict.unknown > 0
    assert verdict.statuses == {"succeeded": plan.jobs - verdict.unknown}


def test_an_empty_account_ends_a_run_whose_provider_does_not_tell_the_balance(tmp_path: Path) -> None:
    plan = Plan(
        jobs=10,
        scenario_settings=(*speaking("replicate"), "work.duration_median_s=0.4", "credits.start_usd=3.5"),
        settings=("provider.preset=replicate", f"provider.model={MODELS['replicate']}", *QUICK),
    )
    with batch(tmp_path / "batch", plan, command_of=command_of) as run:
        verdict = run.finish()
        assert (verdict.exit_code, verdict.statuses, verdict.unknown) == (5, {"succeeded": 3}, 0)
        operate(run.addresses, "credits", {"add": 100})
        assert finish(run.command).returncode == 0
