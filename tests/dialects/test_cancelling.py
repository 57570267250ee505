"""Jobs are cancelled by order and by signal, with the vendors' presets against servers that speak like them."""

from __future__ import annotations

import signal
import sqlite3
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.console.conftest import ended, engine, results, some_jobs, started
from tests.crash.harness import bill, operate, simulator
from tests.dialects.vendors import MODELS, speaking
from tests.waiting import wait_in_thread_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.processes, pytest.mark.sockets]

CANCELLING = ("fal", "replicate", "runway", "luma")
ENDLESS = ("work.duration_median_s=600", "work.duration_sigma=0", "rate.requests_per_window=0")
IN_FLIGHT = 2


class Batch:
    """A batch of four jobs by a vendor's preset, two at a time."""

    def __init__(self, name: str, directory: Path, addresses: dict[str, str]) -> None:
        self.directory = directory
        self.addresses = addresses
        key_file = directory / "key"
        key_file.write_text("SG_0123456789abcdef")
        key_file.chmod(0o600)
        some_jobs(directory, 4)
        settings = (
            f"provider.preset={name}",
            f"provider.model={MODELS[name]}",
            f"provider.base_url={addresses['base_url']}",
            f"provider.api_key_file='{key_file}'",
            "limits.submits_per_minute=6000",
            "limits.polls_per_minute=6000",
            f"limits.max_in_flight={IN_FLIGHT}",
            "polling.expected_duration_s=60",
            "downloads.allow_private_hosts=true",
            "storage.reserve_bytes=0",
        )
        self.command = ["run", "jobs.jsonl", *(word for setting in settings for word in ("--set", setting))]

    def control(self, *words: str) -> str:
        done = engine("control", "jobs.run", *words, cwd=self.directory)
        assert done.code == 0, done.err
        return done.err

    def wait_until_in_flight(self, count: int) -> None:
        log = self.directory / "jobs.run" / "run.log"
        wait_in_thread_until(
            lambda: log.is_file() and log.read_text().count('"submitted"') == count,
            description=f"{count} jobs are submitted",
        )

    def wait_until_at_rest(self, count: int) -> None:
        wait_in_thread_until(lambda: len(self.lines()) == count, description=f"{count} jobs are at rest")

    def lines(self) -> list[dict[str, Any]]:
        run_dir = self.directory / "jobs.run"
        return results(run_dir) if (run_dir / "results.jsonl").is_file() else []

    def errors(self) -> dict[str, tuple[str, bool]]:
        return {line["id"]: (line["error"]["kind"], line["error"]["paid"]) for line in self.lines() if line["error"]}

    def bill(self) -> dict[str, Any]:
        return bill(self.addresses)

    def work_quickly(self) -> None:
        operate(self.addresses, "scenario", {"work.duration_median_s": 0.1})

    def stop(self, process: subprocess.Popen[bytes], words: str) -> None:
        """Send a signal once more, after the words for the one before came."""
        assert process.stderr is not None
        while words.encode() not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)


@pytest.fixture
def batch(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Batch]:
    name = getattr(request, "param", "replicate")
    with simulator("calm", *speaking(name), *ENDLESS) as addresses:
        yield Batch(name, tmp_path, addresses)


@pytest.mark.parametrize("batch", CANCELLING, indirect=True)
def test_jobs_are_cancelled_one_by_one_and_all_together_and_the_rest_can_be_resumed(batch: Batch) -> None:
    with started(*batch.command, cwd=batch.directory) as process:
        batch.wait_until_in_flight(IN_FLIGHT)
        batch.control("--cancel", "clip-00003", "--cancel", "clip-00000")  # one that waits, and one in flight
        batch.wait_until_at_rest(2)
        assert batch.errors() == {"clip-00000": ("cancelled", True), "clip-00003": ("cancelled", False)}
        assert "clip-00000 is at rest already (failed)" in batch.control("--cancel", "clip-00000")
        batch.wait_until_in_flight(IN_FLIGHT + 1)
        batch.control("--cancel-all")
        done = ended(process)
    assert done.code == 1, done.err  # everything has come to rest
    assert {kind for kind, _ in batch.errors().values()} == {"cancelled"}
    found = batch.bill()
    assert (found["accepted"], found["cancelled"], found["in_flight"], found["paid"]) == (3, 3, 0, 0)
    batch.work_quickly()
    done = engine("retry", "jobs.run", "--error", "cancelled", cwd=batch.directory)
    assert done.code == 0, done.err
    assert len(batch.lines()) == 4
    assert (batch.bill()["accepted"], batch.bill()["paid"]) == (7, 4)


@pytest.mark.parametrize("batch", CANCELLING, indirect=True)
def test_all_that_is_in_flight_is_cancelled_and_what_waits_is_left(batch: Batch) -> None:
    with started(*batch.command, cwd=batch.directory) as process:
        batch.wait_until_in_flight(IN_FLIGHT)
        batch.control("--cancel-all")
        done = ended(process)
    assert done.code == 3, done.err
    assert "everything in flight was to be cancelled" in done.err
    assert "2 remaining" in done.err
    batch.work_quickly()
    assert engine("resume", "jobs.run", cwd=batch.directory).code == 1
    assert sorted(line["status"] for line in batch.lines()) == ["failed"] * 2 + ["succeeded"] * 2
    assert batch.bill()["cancelled"] == 2


def test_an_order_of_before_is_carried_out_at_the_start_once(batch: Batch) -> None:
    with started(*batch.command, cwd=batch.directory) as process:
        batch.wait_until_in_flight(IN_FLIGHT)
        process.kill()
        process.communicate()
    assert "from the next start" in batch.control("--cancel", "clip-00000", "--cancel", "clip-00002")
    with started(*batch.command, cwd=batch.directory) as process:
        batch.wait_until_at_rest(2)
        process.kill()
        process.communicate()
    assert set(batch.errors()) == {"clip-00000", "clip-00002"}
    assert batch.bill()["cancelled"] == 1
    batch.work_quickly()
    # What a person tries again is not cancelled again by the order that stands in the journal.
    more_places = ("--set", "limits.max_in_flight=9")
    with started("retry", "jobs.run", "--id", "clip-00000", *more_places, cwd=batch.directory) as process:
        wait_in_thread_until(
            lambda: [line["id"] for line in batch.lines() if line["status"] == "succeeded"].count("clip-00000"),
            description="what was tried again is at rest",
            within_s=60,
        )
        process.kill()
    assert batch.bill()["cancelled"] == 1


def test_an_order_for_all_of_before_cancels_what_runs_and_submits_nothing(batch: Batch) -> None:
    with started(*batch.command, cwd=batch.directory) as process:
        batch.wait_until_in_flight(IN_FLIGHT)
        process.kill()
        process.communicate()
    batch.control("--cancel-all")
    done = engine(*batch.command, cwd=batch.directory)
    assert done.code == 3, done.err
    assert (batch.bill()["accepted"], batch.bill()["cancelled"]) == (IN_FLIGHT, IN_FLIGHT)


@pytest.mark.parametrize("batch", ["runway", "replicate"], indirect=True)
def test_a_second_signal_cancels_what_is_in_flight_if_that_was_asked_for(batch: Batch) -> None:
    with started(*batch.command, "--cancel-on-stop", cwd=batch.directory) as process:
        batch.wait_until_in_flight(IN_FLIGHT)
        process.send_signal(signal.SIGINT)
        batch.stop(process, "Once more cancels them")
        done = ended(process)
    assert done.code == 130, done.err
    assert "cancelling what is in flight" in done.err
    assert (batch.bill()["cancelled"], batch.bill()["in_flight"]) == (IN_FLIGHT, 0)
    assert {kind for kind, _ in batch.errors().values()} == {"cancelled"}


def test_a_third_signal_ends_that_at_once(batch: Batch) -> None:
    with started(*batch.command, "--cancel-on-stop", cwd=batch.directory) as process:
        batch.wait_until_in_flight(IN_FLIGHT)
        operate(batch.addresses, "scenario", {"outage": "stall"})  # nobody answers
        process.send_signal(signal.SIGINT)
        batch.stop(process, "Once more cancels them")
        batch.stop(process, "Once more stops at once")
        done = ended(process)
    assert done.code == 130, done.err
    assert batch.bill()["in_flight"] == IN_FLIGHT


@pytest.mark.parametrize("batch", ["bfl"], indirect=True)
def test_where_nothing_can_be_cancelled_that_is_said_and_the_result_comes_home(batch: Batch) -> None:
    operate(batch.addresses, "scenario", {"work.duration_median_s": 3.0})
    with started(
        *batch.command, "--cancel-on-stop", "--set", "polling.expected_duration_s=3", cwd=batch.directory
    ) as process:
        batch.wait_until_in_flight(IN_FLIGHT)
        batch.control("--cancel", "clip-00000")
        process.send_signal(signal.SIGINT)
        done = ended(process)
    assert done.code == 130, done.err
    assert "clip-00000 is not cancelled (the provider offers no cancelling); its result is brought home" in done.err
    assert "Once more stops at once, because the provider offers no cancelling" in done.err
    assert [line["status"] for line in batch.lines()] == ["succeeded"] * IN_FLIGHT


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--cancel", "clip-00009"), "no job of this run has the id 'clip-00009', did you mean 'clip-0000"),
        (("--cancel", "something-else"), "no job of this run has the id 'something-else'"),
    ],
)
def test_an_id_that_no_job_has_is_refused(batch: Batch, words: tuple[str, ...], said: str) -> None:
    batch.work_quickly()
    assert engine(*batch.command, cwd=batch.directory).code == 0
    done = engine("control", "jobs.run", *words, cwd=batch.directory)
    assert (done.code, said in done.err) == (2, True), done.err
    assert not (batch.directory / "jobs.run" / "control.jsonl").exists()


@pytest.mark.parametrize("batch", ["runway", "replicate"], indirect=True)
def test_a_kill_between_a_cancellation_and_its_record_is_settled_by_the_next_start(
    batch: Batch, request: pytest.FixtureRequest
) -> None:
    with started(*batch.command, cwd=batch.directory) as process:
        batch.wait_until_in_flight(IN_FLIGHT)
        process.kill()
        process.communicate()
    db = sqlite3.connect(batch.directory / "jobs.run" / "run.db")
    with db:
        (request_id,) = db.execute("SELECT request_id FROM attempt WHERE job = 1").fetchone()
        db.execute("INSERT INTO cancellation VALUES (1, 0, 0)")  # as it stands when the provider is asked
    db.close()
    final = request.node.callspec.params["batch"] == "runway"
    path = f"/v1/tasks/{request_id}" if final else f"/v1/predictions/{request_id}/cancel"
    headers = {"Authorization": "Bearer SG_0123456789abcdef", "X-Runway-Version": "2024-11-06"}
    httpx.request("DELETE" if final else "POST", batch.addresses["base_url"] + path, headers=headers).raise_for_status()
    with started(*batch.command, cwd=batch.directory) as process:
        batch.wait_until_at_rest(1)
        process.kill()
    assert batch.errors() == {"clip-00001": ("cancelled", True)}
    assert batch.bill()["cancels"] == 1
