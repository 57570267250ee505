"""One batch with several providers: each has its own plan and its own troubles, and one ledger knows of all."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from engine.errors import ConfigError, ExitCode, UsageError
from tests.runs.conftest import accounts_add_up, provider, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from engine.simulator import Simulator

pytestmark = pytest.mark.sockets

SECOND_MODEL = "rep:owner/painter"


@asynccontextmanager
async def second(jobs: Path, **knobs: Any) -> AsyncIterator[tuple[Simulator, list[str]]]:
    """Run another provider, of another kind; yields it with the settings by which a run knows it as ``rep``."""
    async with provider(dialect="replicate", access__models=["*"], **knobs) as simulator:
        yield simulator, settings_of(jobs, simulator, name="rep", preset="replicate")


@asynccontextmanager
async def twin(jobs: Path, **knobs: Any) -> AsyncIterator[tuple[Simulator, list[str]]]:
    """Run another provider of the first one's kind, with a history; the run knows it as ``twin``."""
    async with provider(**knobs) as simulator:
        history = f"providers.twin.history_url={simulator.history_url}"
        yield simulator, [*settings_of(jobs, simulator, name="twin", preset="segmind"), history]


def settings_of(jobs: Path, simulator: Simulator, *, name: str, preset: str) -> list[str]:
    key_file = jobs.with_name("key")
    key_file.write_text("SG_0123456789abcdef")
    key_file.chmod(0o600)
    return [
        f"providers.{name}.preset={preset}",
        f"providers.{name}.base_url={simulator.base_url}",
        f"providers.{name}.api_key_file='{key_file}'",
        f"providers.{name}.limits.submits_per_minute=60000",
        f"providers.{name}.limits.polls_per_minute=600000",
        f"providers.{name}.polling.expected_duration_s=0.15",
    ]


def write(path: Path, count: int) -> Path:
    """Write jobs of three models, in turn: two of the first provider, one of the second."""
    avatar = {"image_url": "https://example.com/a.png", "audio_url": "https://example.com/a.wav"}
    kinds: list[dict[str, Any]] = [
        {"params": avatar},
        {"model": SECOND_MODEL, "params": {}},
        {"model": "kling-v1-standard-ai-avatar", "params": avatar},
    ]
    with path.open("w") as file:
        for number in range(count):
            kind = kinds[number % len(kinds)]
            params = {**kind["params"], "prompt": f"no {number}"}
            file.write(json.dumps({"id": f"job-{number}", **kind, "params": params}) + "\n")
    return path


async def test_each_job_goes_to_its_provider_and_all_are_accounted_for(jobs: Path) -> None:
    write(jobs, 30)
    async with provider() as first, second(jobs) as (other, settings):
        stopped = await run(first, jobs, *settings, jobs_max=7)
        assert (stopped.exit_code, stopped.stop and stopped.stop.kind) == (ExitCode.STOPPED, "budget")
        assert first.bill().accepted + other.bill().accepted == 7
        outcome = await run(first, jobs, *settings)
        assert (outcome.exit_code, outcome.statuses) == (ExitCode.SUCCEEDED, {"succeeded": 30, "failed": 0})
        assert (first.bill().paid, other.bill().paid) == (20, 10)
        assert first.bill().paid_more_than_once == other.bill().paid_more_than_once == 0
        assert first.bill().key_leaks == other.bill().key_leaks == 0
        assert outcome.by_id["job-1"]["model"] == SECOND_MODEL
        assert accounts_add_up(outcome.survey)


async def test_the_troubles_of_one_provider_are_its_own(jobs: Path) -> None:
    write(jobs, 30)
    async with provider() as first, second(jobs, credits__start_usd=2.5) as (other, settings):
        outcome = await run(first, jobs, *settings)
        assert outcome.exit_code == ExitCode.ACCOUNT
        assert outcome.stop is not None
        assert outcome.stop.message.startswith("rep: the account is out of credit")
        assert first.bill().paid == 20
        assert other.bill().paid == 2
        assert outcome.survey.remaining == 8
        assert any(said.startswith("rep: ") and said.endswith("those of the others go on") for said in outcome.said)
        other.add_credits(100.0)
        outcome = await run(first, jobs, *settings)
        assert (outcome.exit_code, other.bill().paid, first.bill().paid) == (ExitCode.SUCCEEDED, 10, 20)


async def test_the_budget_is_one_for_all(jobs: Path) -> None:
    write(jobs, 30)
    async with provider() as first, second(jobs) as (_, settings):
        limits = ("limits.max_in_flight=2", "providers.rep.limits.max_in_flight=1", "budget.cost_usd_max=20")
        outcome = await run(first, jobs, *settings, *limits)
        assert (outcome.exit_code, outcome.stop and outcome.stop.kind) == (ExitCode.STOPPED, "budget")
        assert outcome.survey.spent_usd <= 20
        assert outcome.survey.in_flight == 0


async def test_a_run_does_not_go_on_without_a_provider_that_its_jobs_need(jobs: Path) -> None:
    write(jobs, 9)
    async with provider() as first, second(jobs) as (_, settings):
        await run(first, jobs, *settings, jobs_max=1)
        with pytest.raises(UsageError, match="jobs of the provider 'rep', which the configuration lacks"):
            await run(first, jobs)
        other = [setting.replace("preset=replicate", "preset=luma") for setting in settings]
        with pytest.raises(UsageError, match="begun with the provider 'replicate'; 'luma' knows nothing"):
            await run(first, jobs, *other)
        assert (await run(first, jobs, *settings)).exit_code == ExitCode.SUCCEEDED


async def test_a_line_for_a_provider_that_is_not_there_is_invalid(jobs: Path) -> None:
    write(jobs, 3)
    with jobs.open("a") as file:
        file.write(json.dumps({"id": "stray", "model": "rop:x", "params": {"prompt": "x"}}) + "\n")
    async with provider() as first, second(jobs) as (_, settings):
        outcome = await run(first, jobs, *settings)
        assert outcome.by_id["stray"]["status"] == "invalid"
        message = outcome.by_id["stray"]["error"]["message"]
        assert message.startswith(
            "'model' names the provider 'rop', which the configuration lacks, did you mean 'rep'?"
        )


TWIN_LOSES = {"fault_details__repeats_max": 1, "fault_details__only_bodies_with": "no 3"}


def write_for_twin(path: Path, count: int) -> Path:
    body = {"image_url": "https://example.com/a.png", "audio_url": "https://example.com/a.wav"}
    lines = [
        {"id": f"job-{n}", "model": "twin:kling-v1-pro-ai-avatar", "params": {**body, "prompt": f"no {n}"}}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("policy", ["hold", "resubmit"])
async def test_a_lost_reply_of_a_further_provider_is_adopted_from_its_history(jobs: Path, policy: str) -> None:
    write_for_twin(jobs, 8)
    async with provider() as first, twin(jobs, faults={"reply_lost_after": 1.0}, **TWIN_LOSES) as (other, settings):
        outcome = await run(first, jobs, *settings, f"recovery.on_unknown={policy}")
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert outcome.by_id["job-3"]["attempts"] == 1
        assert other.bill().accepted == 8
        assert other.bill().paid_more_than_once == 0


async def test_the_history_of_a_further_provider_proves_that_a_submission_never_arrived(jobs: Path) -> None:
    write_for_twin(jobs, 8)
    async with provider() as first, twin(jobs, faults={"bad_gateway_before": 1.0}, **TWIN_LOSES) as (other, settings):
        outcome = await run(first, jobs, *settings, "providers.twin.limits.max_in_flight=1")
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert outcome.by_id["job-3"]["attempts"] == 2
        assert other.bill().paid == 8
        assert other.bill().paid_more_than_once == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["providers.rep.preset=replicat"], "providers.rep.preset must be .* did you mean 'replicate'"),
        (["providers.rep.limits.max_in_flight=3"], "providers.rep.preset is missing"),
        (["providers.Rep.preset=replicate"], "must be a name of at most 32 lowercase"),
        (
            ["providers.rep.preset=replicate", "providers.rep.limit.x=1"],
            "no key providers.rep.limit, did you mean 'limits'",
        ),
        (
            ["providers.rep.preset=replicate", "providers.rep.limits.max_inflight=1"],
            "limits.max_inflight, did you mean",
        ),
        (
            ["providers.rep.preset=replicate", "providers.rep.limits.max_in_flight=0"],
            "providers.rep.limits.max_in_flight must",
        ),
        (["providers.rep=5"], "providers.rep must be a table"),
        (["providers.rep.preset=simulator"], "the simulator inside the engine can only be the first provider"),
    ],
)
async def test_a_further_provider_that_is_not_right_says_where(jobs: Path, settings: list[str], words: str) -> None:
    write(jobs, 3)
    async with provider() as first:
        with pytest.raises(ConfigError, match=words):
            await run(first, jobs, *settings)
        assert first.bill().accepted == 0
