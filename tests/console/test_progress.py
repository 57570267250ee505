"""What the panel and the plain line say of a run."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from engine.console.figures import Figures
from engine.console.progress import can_redraw, of_note, panel_rows, plain_line
from engine.errors import ExitCode
from engine.job.records import JobError
from engine.scheduling.stop import Stop
from engine.scheduling.tally import Tally
from tests.views import a_view

if TYPE_CHECKING:
    from engine.run.run import Run

WIDE, NARROW = 120, 60


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _run(*, waits_for: str = "", stop: Stop | None = None, name: str = "night.run", fleet: str = "") -> Run:
    directory = SimpleNamespace(root=Path(name))
    says = SimpleNamespace(directory=directory, view=lambda: a_view(waits_for), stop=stop, fleet=fleet, tally=Tally())
    return cast("Run", says)


def _figures(tally: Tally) -> Figures:
    return Figures(lambda: tally, lambda: 0.0)


def _rows(tally: Tally, run: Run | None = None, *, width: int = WIDE) -> dict[str, str]:
    return dict(panel_rows(_figures(tally), run or _run(), width=width))


def test_the_bar_counts_what_is_at_rest() -> None:
    assert "6/24" in _rows(Tally(lines=24, succeeded=4, failed=1, invalid=1))["night.run"]


def test_nothing_but_an_outcome_to_be_looked_up_is_not_done_in_no_time() -> None:
    assert _rows(Tally(lines=5, succeeded=4, unknown=1, input_complete=True))["eta"] == "unknown yet"
    assert _rows(Tally(lines=5, succeeded=5, input_complete=True))["eta"] == "0 s"


def test_a_run_without_lines_has_a_bar() -> None:
    assert "0/0+" in _rows(Tally())["night.run"]


def test_an_input_that_is_still_read_is_said_to_be() -> None:
    assert "still being read" in _rows(Tally(lines=3, pending=3))["waiting"]


def test_a_narrow_panel_leaves_out_the_places_where_no_job_is() -> None:
    assert _rows(Tally(generating=7), width=NARROW)["in flight"] == "7 (7 generating)"


def test_no_row_of_a_narrow_panel_is_wider_than_the_terminal() -> None:
    tally = Tally(lines=99_999, generating=999, downloading=99, pending=9_999, unknown=9)
    tally.recent_failures.append(("clip-1", "rejected", "a very long sentence " * 20))
    assert max(len(text) for text in _rows(tally, width=NARROW).values()) <= NARROW - len("in flight") - 2


def test_a_shortened_failure_ends_in_an_ellipsis() -> None:
    tally = Tally()
    tally.recent_failures.append(("clip-1", "rejected", "x" * 300))
    assert _rows(tally)["failed"].endswith("x…")


def test_set_aside_jobs_have_a_row_only_when_there_are_some() -> None:
    assert "set aside" not in _rows(Tally())
    assert _rows(Tally(unknown=2, held=1))["set aside"] == "2 unknown · 1 held"


def test_failures_are_grouped_by_cause_with_the_last_of_each() -> None:
    tally = Tally()
    for number in range(3):
        tally.note_failure(f"clip-{number}", JobError(kind="rejected", message="no face"), copies=0)
    tally.note_failure("clip-9", JobError(kind="expired", message="gone"), copies=0)
    failed = [text for label, text in panel_rows(_figures(tally), _run(), width=WIDE) if label == "failed"]
    assert failed == ["3 x rejected, last clip-2: no face", "1 x expired, last clip-9: gone"]


def test_money_and_polling_are_projected_and_averaged() -> None:
    tally = Tally(
        succeeded=1, mean_usd=4.5, pending=8, spent_usd=9.0, reserved_usd=1.0, polls=11, lag_jobs=2, lag_sum_s=8.0
    )
    rows = _rows(tally)
    assert "$46.00 projected" in rows["money"]
    assert rows["polling"].startswith("5.5 polls a job · 4.0 s lag")


def test_what_the_run_waits_for_is_a_row() -> None:
    assert _rows(Tally(), _run(waits_for="no credit"))["waits for"] == "no credit"


def test_a_fleet_has_a_row_and_a_part_of_the_line_only_when_there_is_one() -> None:
    with_fleet, words = _run(fleet="3 nodes, 24 places, 7 under way"), "3 nodes, 24 places, 7 under way"
    assert _rows(Tally(), with_fleet)["fleet"] == words
    assert f"fleet: {words}" in plain_line(_figures(Tally()), with_fleet)
    assert "fleet" not in _rows(Tally())
    assert "fleet" not in plain_line(_figures(Tally()), _run())


def test_ids_and_messages_cannot_steer_the_panel() -> None:
    tally = Tally()
    tally.recent_failures.append(("a\x1b[2J", "rejected", "\u202ebad\n"))
    rows = _rows(tally, _run(waits_for="\x1b]0;x\x07", name="n\x1b.run"))
    assert all(text.isprintable() for row in rows.items() for text in row)


def test_a_run_that_stops_gives_no_estimate() -> None:
    stop = Stop("interrupted", "stopped by SIGINT", ExitCode.INTERRUPTED)
    assert "eta" not in plain_line(_figures(Tally(lines=9)), _run(stop=stop))


def test_the_plain_line_is_one_line_without_colour() -> None:
    assert plain_line(_figures(Tally(lines=9, succeeded=2)), _run(waits_for="a\n\x1b[1m")).isprintable()


def test_a_new_kind_of_failure_a_hold_and_a_stop_are_each_of_note_and_another_of_a_kind_is_not() -> None:
    run = _run()
    calm = of_note(run)
    run.tally.note_failure("clip-1", JobError(kind="rejected", message="no face"), copies=0)
    failed = of_note(run)
    run.tally.note_failure("clip-2", JobError(kind="rejected", message="no face"), copies=0)
    assert calm != failed == of_note(run)
    assert of_note(_run(waits_for="a 429")) != calm
    assert of_note(_run(stop=Stop("interrupted", "stopped", ExitCode.INTERRUPTED))) != calm


@pytest.mark.parametrize("term", ["dumb", "DUMB", "unknown"])
def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch, term: str) -> None:
    monkeypatch.setenv("TERM", term)
    assert not can_redraw(_Terminal())


def test_a_terminal_gets_a_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    assert can_redraw(_Terminal())


def test_a_file_gets_plain_lines() -> None:
    assert not can_redraw(io.StringIO())


def test_a_closed_stderr_gets_no_panel() -> None:
    assert not can_redraw(None)
