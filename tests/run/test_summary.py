"""What a run came to: each line accounted for, and the exit code that follows."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.errors import ExitCode
from engine.ledger.survey import Cause, Survey
from engine.run.summary import exit_code_of, summarise
from engine.scheduling.stop import Manner, Stop
from engine.scheduling.tally import Tally

INTERRUPTED = Stop("interrupted", "Ctrl-C", ExitCode.INTERRUPTED, Manner.HARVEST, "resume")
NO_CREDIT = Stop("no_credit", "nothing left", ExitCode.ACCOUNT)


def found(**counts: Any) -> Survey:
    usual: dict[str, Any] = dict.fromkeys(Survey.__struct_fields__, 0)
    usual |= {"causes": (), "input_complete": True, "at_risk_usd": None}
    usual |= dict.fromkeys(("oldest_in_flight_utc", "begun_utc", "ended_utc", "model", "input", "output"))
    return Survey(**{**usual, **counts})


@pytest.mark.parametrize(
    ("survey", "stop", "code"),
    [
        (found(lines=3, succeeded=3), None, ExitCode.SUCCEEDED),
        (found(), None, ExitCode.SUCCEEDED),
        (found(lines=3, succeeded=3), INTERRUPTED, ExitCode.SUCCEEDED),
        (found(lines=3, succeeded=2, failed=1), None, ExitCode.SOME_FAILED),
        (found(lines=3, succeeded=2, invalid=1), None, ExitCode.SOME_FAILED),
        (found(lines=3, succeeded=2, failed=1), INTERRUPTED, ExitCode.SOME_FAILED),
        (found(lines=3, succeeded=2, remaining=1), INTERRUPTED, ExitCode.INTERRUPTED),
        (found(lines=3, succeeded=2, remaining=1), NO_CREDIT, ExitCode.ACCOUNT),
        (found(lines=3, succeeded=2, unknown=1), None, ExitCode.STOPPED),
        (found(lines=3, failed=2, held=1), None, ExitCode.STOPPED),
        (found(lines=3, succeeded=2, in_flight=1), None, ExitCode.STOPPED),
        (found(lines=3, succeeded=3, input_complete=False), INTERRUPTED, ExitCode.INTERRUPTED),
        (found(lines=3, succeeded=3, input_complete=False), None, ExitCode.STOPPED),
    ],
)
def test_the_exit_code_follows_from_what_is_left_undone(survey: Survey, stop: Stop | None, code: ExitCode) -> None:
    assert exit_code_of(survey, stop) is code


def test_the_record_can_be_written_and_names_the_stop() -> None:
    survey = found(lines=2, succeeded=1, remaining=1, begun_utc=0.0)
    record = summarise(survey, Tally(lag_sum_s=9.0, lag_jobs=2), INTERRUPTED, wall_s=12.34567)
    assert orjson.loads(orjson.dumps(record))["lines"] == 2
    assert record["exit_code"] == 130
    assert record["stopped"]["kind"] == "interrupted"
    assert record["begun_utc"] == "1970-01-01T00:00:00.000Z"
    assert record["ended_utc"] is None
    assert (record["process"]["wall_s"], record["process"]["lag_mean_s"]) == (12.346, 4.5)


def test_a_run_that_was_not_stopped_says_so_and_divides_by_nothing() -> None:
    record = summarise(found(), Tally(), None, wall_s=0.0)
    assert record["stopped"] is None
    assert record["process"]["lag_mean_s"] is None


def test_causes_are_part_of_the_record() -> None:
    cause = Cause(status="failed", kind="rejected", jobs=3, example_id="a", example_line=1, example_message="no")
    (kept,) = summarise(found(causes=(cause,)), Tally(), None, wall_s=0.0)["causes"]
    assert (kept["kind"], kept["jobs"]) == ("rejected", 3)
