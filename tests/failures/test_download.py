"""The failure table, download: whole runs; a file that a line names is whole, or the line says why there is none."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from engine.errors import ExitCode
from engine.ledger.reopening import Selection
from tests.runs.conftest import jobs, paid, provider, run, write_jobs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runs.conftest import Outcome

pytestmark = pytest.mark.sockets

__all__ = ["jobs"]


def files_are_whole(jobs: Path, outcome: Outcome, *, each: int = 1) -> bool:
    """Say whether every line names as many files as it should, each with the very bytes it says."""
    root = jobs.with_suffix(".run")
    return all(
        len(line["files"]) == each
        and all(
            hashlib.sha256((root / file["path"]).read_bytes()).hexdigest() == file["sha256"] for file in line["files"]
        )
        for line in outcome.lines
    )


@pytest.mark.parametrize(
    "fault",
    [
        "download_dropped",
        "download_truncated",
        "download_html",
        "download_empty",
        "download_error_503",
        "download_redirect",
        "download_no_length",
        "download_range_ignored",
        "download_changed",
        "download_expired",
    ],
)
async def test_short_body_reset_html_0_bytes_503_redirect_changed_length_expired_all_end_in_a_whole_file(
    jobs: Path, fault: str
) -> None:
    write_jobs(jobs, 2)
    faults = {fault: 1.0, **({"download_dropped": 1.0} if fault == "download_range_ignored" else {})}
    knobs: dict[str, Any] = {"faults": faults, "fault_details__repeats_max": 1, "output__file_bytes": 300_000}
    async with provider(**knobs) as simulator:
        outcome = await run(simulator, jobs)
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert files_are_whole(jobs, outcome)
        assert paid(simulator) == 2


async def test_an_error_page_for_good_fails_as_bad_media_after_5_tries_with_the_first_bytes_kept_escaped(
    jobs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.backoff.backoff_s", lambda *_args, **_options: 0.0)
    monkeypatch.setattr("engine.media.downloader.backoff_s", lambda *_args, **_options: 0.0)
    write_jobs(jobs, 1)
    async with provider(faults={"download_html": 1.0}) as simulator:
        outcome = await run(simulator, jobs)
        (line,) = outcome.lines
        assert (line["error"]["kind"], line["error"]["paid"]) == ("bad_media", True)
        assert "<html" in line["error"]["message"].lower()
        simulator.change({"faults.download_html": 0.0})
        again = await run(simulator, jobs, reopen=Selection())
        assert again.exit_code == ExitCode.SUCCEEDED
        assert paid(simulator) == 1


async def test_larger_than_the_cap_and_endless_stop_at_the_cap(jobs: Path) -> None:
    write_jobs(jobs, 1)
    async with provider(faults={"download_endless": 1.0}) as simulator:
        outcome = await run(simulator, jobs, "downloads.bytes_max=100000")
        (line,) = outcome.lines
        assert (line["error"]["kind"], line["error"]["paid"]) == ("too_large", True)
    assert list((jobs.with_suffix(".run") / "media").iterdir()) == []


async def test_a_redirect_to_another_scheme_is_refused_and_the_line_says_so(jobs: Path) -> None:
    write_jobs(jobs, 1)
    knobs = {"faults": {"download_redirect": 1.0}, "downloads__redirect_location": "file:///etc/passwd"}
    async with provider(**knobs) as simulator:
        (line,) = (await run(simulator, jobs)).lines
        assert (line["error"]["kind"], line["error"]["paid"]) == ("blocked_address", True)


async def test_several_outputs_are_all_in_one_line_once_all_are_stored(jobs: Path) -> None:
    write_jobs(jobs, 3)
    knobs = {"output__files_per_job": 3, "output__shape": "output_list", "faults": {"download_dropped": 0.3}}
    async with provider(**knobs) as simulator:
        outcome = await run(simulator, jobs)
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert len(outcome.lines) == 3
        assert files_are_whole(jobs, outcome, each=3)


async def test_target_exists_is_a_symlink_or_a_directory_is_never_overwritten(jobs: Path, tmp_path: Path) -> None:
    write_jobs(jobs, 2)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    async with provider() as simulator:
        names = [line["files"][0]["path"] for line in (await run(simulator, jobs)).lines]
        root = jobs.with_suffix(".run")
        (root / names[0]).unlink()
        (root / names[0]).symlink_to(elsewhere)
        (root / names[1]).unlink()
        (root / names[1]).mkdir()
        outcome = await run(simulator, jobs, reopen=Selection(failed=False, downloads=(0, 1)))
        assert files_are_whole(jobs, outcome)
        assert paid(simulator) == 2
    assert elsewhere.read_text() == "mine"
    assert {line["files"][0]["path"] for line in outcome.lines}.isdisjoint(names)
