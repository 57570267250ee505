from __future__ import annotations

import pytest

from engine.simulator.job import LIFE, TERMINAL, Job, JobState


def made() -> Job:
    return Job(
        request_id="0" * 32,
        model="m",
        body=b"{}",
        body_sha256="ab",
        nth=0,
        attempt=0,
        created_s=100.0,
        created_utc=0.0,
        duration_s=5.0,
        price_usd=1.0,
        files_count=1,
        faults=frozenset(),
    )


def test_every_state_has_its_row_in_the_table() -> None:
    assert set(LIFE) == set(JobState)
    assert {JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED} == TERMINAL


def test_a_job_cannot_leave_its_end() -> None:
    job = made()
    job.move(JobState.PROCESSING, 101.0)
    job.move(JobState.COMPLETED, 106.0)
    with pytest.raises(AssertionError):
        job.move(JobState.FAILED, 107.0)


def test_times_are_counted_from_the_submit_and_from_the_worker() -> None:
    job = made()
    assert (job.queue_time_s, job.inference_time_s) == (0.0, 0.0)
    job.move(JobState.PROCESSING, 103.0)
    job.move(JobState.COMPLETED, 108.5)
    assert (job.queue_time_s, job.inference_time_s) == (3.0, 5.5)


def test_the_state_at_an_earlier_moment_is_remembered() -> None:
    job = made()
    job.move(JobState.PROCESSING, 103.0)
    job.move(JobState.FAILED, 108.0)
    states = [job.state_at(moment_s) for moment_s in (102.9, 103.0, 107.9, 108.0)]
    assert states == [JobState.QUEUED, JobState.PROCESSING, JobState.PROCESSING, JobState.FAILED]
