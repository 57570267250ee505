"""Batches whose inputs are local files, over HTTP: uploaded once, never paid twice, settled when a reply is lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from engine.errors import ExitCode
from engine.ledger.reopening import Selection
from tests.console.conftest import engine
from tests.media.conftest import small_media
from tests.runs.conftest import paid, provider, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.sockets

MEDIA = small_media()


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    (tmp_path / "face.png").write_bytes(MEDIA["image/png"])
    for number in range(6):
        (tmp_path / f"take-{number}.wav").write_bytes(MEDIA["audio/wav"] + bytes([number]) * 2)
    write(
        tmp_path / "jobs.jsonl",
        *({"image_url": "./face.png", "audio_url": f"file:take-{n}.wav", "prompt": f"no {n}"} for n in range(6)),
    )
    return tmp_path / "jobs.jsonl"


def write(path: Path, *params: dict[str, Any]) -> None:
    path.write_text("".join(json.dumps({"id": f"job-{n}", "params": body}) + "\n" for n, body in enumerate(params)))


async def test_each_content_is_uploaded_once_also_across_processes(jobs: Path) -> None:
    async with provider() as simulator:
        first = await run(simulator, jobs, jobs_max=2)
        assert first.exit_code == ExitCode.STOPPED
        outcome = await run(simulator, jobs)
        assert (outcome.exit_code, outcome.statuses) == (ExitCode.SUCCEEDED, {"succeeded": 6, "failed": 0})
        bill = simulator.bill()
        assert (bill.paid, bill.paid_more_than_once, bill.uploads, bill.key_leaks) == (6, 0, 7, 0)


@pytest.mark.parametrize("fault", ["reply_lost_after", "bad_gateway_before"])
async def test_a_lost_reply_is_settled_by_what_was_sent(jobs: Path, fault: str) -> None:
    knobs: dict[str, Any] = {
        "faults": {fault: 1.0},
        "fault_details__repeats_max": 1,
        "fault_details__only_bodies_with": "no 3",
    }
    async with provider(**knobs) as simulator:
        outcome = await run(simulator, jobs, "limits.max_in_flight=1")
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert (paid(simulator), simulator.bill().paid_more_than_once) == (6, 0)
        assert outcome.by_id["job-3"]["attempts"] == (1 if fault == "reply_lost_after" else 2)


async def test_a_file_that_goes_away_costs_its_job_alone_and_can_be_tried_again(jobs: Path) -> None:
    take = jobs.with_name("take-4.wav")
    content = take.read_bytes()
    async with provider() as simulator:
        await run(simulator, jobs, jobs_max=1)
        take.unlink()
        outcome = await run(simulator, jobs)
        assert outcome.statuses == {"succeeded": 5, "failed": 1}
        error = outcome.by_id["job-4"]["error"]
        assert (error["kind"], error["paid"]) == ("input_file", False)
        assert error["message"] == f"params.audio_url: the file {take} does not exist"
        take.write_bytes(content)
        again = await run(simulator, jobs, reopen=Selection(True, ("input_file",), (), unknown=False, pay_again=False))
        assert (again.exit_code, paid(simulator)) == (ExitCode.SUCCEEDED, 6)


async def test_a_sick_upload_host_holds_submissions_up_and_fails_nothing(jobs: Path) -> None:
    async with provider(
        faults={"upload_unavailable": 0.2, "upload_lost": 0.1, "upload_rate_limited": 0.1}
    ) as simulator:
        outcome = await run(simulator, jobs)
        assert (outcome.exit_code, paid(simulator)) == (ExitCode.SUCCEEDED, 6)


def plan(jobs: Path, *settings: str) -> dict[str, Any]:
    words = [word for setting in settings or ("provider.preset=simulator",) for word in ("--set", setting)]
    made: dict[str, Any] = orjson.loads(engine("plan", jobs, "--offline", "--json", *words, cwd=jobs.parent).out)
    return made


def test_a_plan_lists_what_would_be_uploaded_and_refuses_what_cannot_be(jobs: Path) -> None:
    made = plan(jobs)
    assert (made["uploads"]["files"], made["invalid"]) == (7, 0)
    assert {file["content_type"] for file in made["uploads"]["largest"]} == {"image/png", "audio/wav"}
    jobs.with_name("take-0.wav").write_bytes(MEDIA["image/png"])
    jobs.with_name("take-1.wav").unlink()
    made = plan(jobs)
    assert [(line["id"], line["kind"]) for line in made["invalid_lines"]] == [
        ("job-0", "bad_params"),
        ("job-1", "bad_params"),
    ]
    assert made["invalid_lines"][0]["message"].endswith("take-0.wav is image/png, but audio is asked for")
    assert made["uploads"]["files"] == 5


def test_a_provider_that_takes_only_urls_refuses_a_file_before_anything_is_paid(jobs: Path) -> None:
    write(jobs, {"prompt": "x", "image": "file:face.png"})
    (line,) = plan(jobs, "provider.preset=luma", "provider.model=ray-2")["invalid_lines"]
    assert line["message"].startswith("params.image names a local file, and luma takes only URLs")
