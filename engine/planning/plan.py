"""The plan of a batch: what is said of it, as values. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from engine.input_files.forecast import FileForecast


class InvalidLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line that would not be submitted, and why."""

    line: int
    id: str | None
    kind: str
    message: str


class ModelPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs of one model; price and duration are None where nobody knows them."""

    model: str
    jobs: int
    price_usd: float | None
    duration_s: float | None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The estimate of a batch.

    Attributes:
        lines: job lines (blank lines are none).
        jobs: valid ones.
        invalid: invalid ones.
        invalid_lines: the first of them, with reasons.
        equal_bodies: valid jobs whose body stood in an earlier line.
        equal_bodies_usd: what they cost; with ``budget.dedupe`` they are not submitted.
        submissions: what would be submitted.
        models: the jobs of each model.
        cost_usd: of all submissions; None if a price is unknown.
        cost_usd_min: of those submissions whose price is known.
        unpriced: submissions whose price is not.
        wall_s: from the first submission to the last result, at the limits configured; None if a duration is unknown.
        wall_s_min: the same for those submissions whose duration is known; None if there are none.
        untimed: submissions whose duration is not known.
        bound_by: what limits the time: ``submits_per_minute``, ``max_in_flight`` or ``requests``.
        requests: submissions, polls and fetches together.
        in_flight_safe: how many in flight can be harvested before their records expire.
        disk_free_bytes: free where the media go by default.
        disk_bytes_per_job_max: how large a job's files may be on average before that disk is full.
        uploads: the local files that jobs name.
        unanswered_urls: input URLs that do not answer, with the reason; only if they were asked.
        warnings: sentences about risks.
    """

    lines: int
    jobs: int
    invalid: int
    invalid_lines: tuple[InvalidLine, ...]
    equal_bodies: int
    equal_bodies_usd: float | None
    submissions: int
    models: tuple[ModelPlan, ...]
    cost_usd: float | None
    cost_usd_min: float
    unpriced: int
    wall_s: float | None
    wall_s_min: float | None
    untimed: int
    bound_by: str | None
    requests: int
    in_flight_safe: int
    disk_free_bytes: int
    disk_bytes_per_job_max: float
    uploads: FileForecast
    unanswered_urls: dict[str, str]
    warnings: tuple[str, ...]


def as_record(made: Plan) -> dict[str, Any]:
    """Return the plan as JSON types."""
    record: dict[str, Any] = msgspec.to_builtins(made)
    return record
