"""What the report says, in each of its formats, and that nothing from outside can do anything in any of them."""

from __future__ import annotations

import csv
import io
import re
import sqlite3
from contextlib import closing
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import orjson
import pytest
from click.testing import CliRunner

from engine.console.report.figures import gather, histogram
from engine.console.report.formats import as_csv, as_html, as_json, as_markdown, content_policy, embedded, gallery
from engine.console.report.job_rows import job_page
from engine.console.report_command import report as report_command
from engine.console.spreadsheet import FORMULA_STARTS
from engine.ledger.schema import open_for_reading
from tests.report.ledgers import BEGIN_UTC, HOSTILE, make_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from engine.console.report.figures import Report
    from engine.console.report.job_rows import JobPage

JOBS = 300


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("report") / "night.run", JOBS)


@pytest.fixture(scope="module")
def found(root: Path) -> Report:
    with closing(open_for_reading(root / "run.db")) as db:
        return gather(db, name=root.name, made_utc=BEGIN_UTC + 5_000, running=None)


@pytest.fixture(scope="module")
def page(root: Path) -> JobPage:
    with closing(open_for_reading(root / "run.db")) as db:
        return job_page(db)


class _Scripts(HTMLParser):
    """Collects the elements of a page that could load or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "link", "img", "iframe", "object", "video", "audio", "style", "base"}:
            self.found.append((tag, dict(attrs)))


def test_every_job_is_in_it_and_the_places_add_up(found: Report, page: JobPage) -> None:
    assert len(page.jobs) == found.survey.lines == JOBS
    assert page.next_line is None
    assert sum(job.place == "succeeded" for job in page.jobs) == found.survey.succeeded
    assert sum(bucket.submitted for bucket in found.timeline) == found.survey.submissions
    assert found.timeline[-1].spent_usd == pytest.approx(found.survey.spent_usd)
    assert sum(bucket.throttled for bucket in found.timeline) == 0  # they came after the last submission


@pytest.fixture
def broken(tmp_path: Path) -> Callable[..., list[str]]:
    """Give a function that makes a run, changes its ledger, and returns the promises that look broken then."""

    def broken(*changes: str) -> list[str]:
        path = make_run(tmp_path / "night.run", JOBS) / "run.db"
        with closing(sqlite3.connect(path)) as db, db:
            for change in changes:
                db.execute(change)
        with closing(open_for_reading(path)) as db:
            found = gather(db, name="night.run", made_utc=BEGIN_UTC + 5_000, running=None)
        return [promise.promise for promise in found.promises if not promise.kept]

    return broken


CHARGED_AGAIN = "INSERT INTO attempt (job, attempt, intent_utc, cost_usd) VALUES (0, 2, 0.0, 4.475)"
SECOND = "UPDATE job SET attempts = 2 WHERE job = 0"
AT_A_WISH = "UPDATE job SET attempts = 2, attempts_before = 1 WHERE job = 0"


def test_a_job_that_was_charged_twice_is_told(broken: Callable[..., list[str]]) -> None:
    assert broken(CHARGED_AGAIN, SECOND) == ["No job was paid for twice"]


def test_what_a_person_had_paid_for_again_breaks_no_promise(broken: Callable[..., list[str]]) -> None:
    assert broken(CHARGED_AGAIN, AT_A_WISH) == []


OWED = "UPDATE job SET state = 'stored', seq = NULL WHERE job = 0"
ONE_LINE_LESS = "UPDATE meta SET value = value - 1 WHERE key = 'output_lines'"
STALE = "INSERT INTO meta VALUES ('output_stale', 1)"


def test_an_outcome_without_a_line_is_told(broken: Callable[..., list[str]]) -> None:
    assert broken(ONE_LINE_LESS) == ["Every outcome has its line"]


@pytest.mark.parametrize("changes", [(OWED, ONE_LINE_LESS), (STALE, ONE_LINE_LESS)])
def test_a_line_that_waits_for_its_turn_or_its_file_breaks_no_promise(
    broken: Callable[..., list[str]], changes: tuple[str, ...]
) -> None:
    assert broken(*changes) == []


def test_what_is_in_flight_is_what_was_submitted_and_not_completed(found: Report) -> None:
    last = found.timeline[-1]
    assert last.in_flight == sum(b.submitted for b in found.timeline) - sum(b.completed for b in found.timeline)


def _changed(path: Path, *changes: str) -> Report:
    with closing(sqlite3.connect(path)) as db, db:
        for change in changes:
            db.execute(change)
    with closing(open_for_reading(path)) as db:
        return gather(db, name="night.run", made_utc=BEGIN_UTC + 5_000, running=None)


NO_RESULT = (
    "UPDATE attempt SET completed_utc = NULL, stored_utc = NULL, submitted_utc = coalesce(submitted_utc, intent_utc)"
    " WHERE job IN (SELECT job FROM job WHERE status = 'failed' OR state = 'unknown')"
)
HELD = "UPDATE job SET state = 'held' WHERE job = (SELECT min(job) FROM job WHERE state = 'submitted')"


def test_what_brought_no_result_and_is_set_aside_is_not_in_flight_for_ever(tmp_path: Path) -> None:
    found = _changed(make_run(tmp_path / "night.run", 5 * JOBS) / "run.db", NO_RESULT, HELD)
    assert (found.survey.failed > 0, found.survey.unknown > 0, found.survey.held) == (True, True, 1)
    assert found.timeline[-1].in_flight == found.survey.in_flight > 0
    assert min(bucket.in_flight for bucket in found.timeline) >= 0


def test_a_request_that_failed_is_not_in_flight_until_its_job_is_tried_again(tmp_path: Path) -> None:
    """Three jobs take a minute each; the first failed and was submitted again ten minutes later."""
    path = make_run(tmp_path / "night.run", 3) / "run.db"
    begin = BEGIN_UTC
    found = _changed(
        path,
        f"UPDATE attempt SET submitted_utc = {begin}, completed_utc = {begin + 60}",
        "UPDATE attempt SET completed_utc = NULL, attempt = 1 WHERE job = 0",
        f"INSERT INTO attempt (job, attempt, intent_utc, request_id, submitted_utc, completed_utc)"
        f" VALUES (0, 2, {begin + 599}, 'again', {begin + 600}, {begin + 660})",
        "UPDATE job SET attempts = 2 WHERE job = 0",
    )
    in_flight = {round(bucket.utc - begin): bucket.in_flight for bucket in found.timeline}
    assert [in_flight[second] for second in (0, 30, 120, 300, 595, 605, 660)] == [3, 3, 0, 0, 0, 1, 0]


def test_a_histogram_counts_every_value() -> None:
    made = histogram([(1.0,), (2.0,), (3.0,), (100.0,)])
    assert made is not None
    assert sum(made.counts) == 4
    assert made.counts[-1] >= 1
    assert histogram([]) is None


def test_whole_numbers_have_a_bin_each() -> None:
    made = histogram([(1.0,), (2.0,), (2.0,), (5.0,)], whole=True)
    assert made is not None
    assert made.edges == (0, 1, 2, 3)
    assert made.counts == (0, 1, 3)  # the last one also holds what is above the 99th percentile


def test_the_page_is_one_file_that_loads_nothing(found: Report, page: JobPage, root: Path) -> None:
    html = as_html(found, page, root=root, beside=root)
    scripts = _Scripts()
    scripts.feed(html)
    assert [(tag, attrs.get("src"), attrs.get("href")) for tag, attrs in scripts.found] == [
        ("link", None, "data:,"), ("style", None, None), ("script", None, None), ("script", None, None),
    ]  # fmt: skip
    assert not re.search(r"https?://(?!example\.com|owasp)", re.sub(r"http://www\.w3\.org/\S+", "", html))


def test_the_policy_allows_the_pages_own_style_and_script_alone() -> None:
    policy = content_policy("a { }", "let b")
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_no_id_prompt_or_error_can_end_the_data_or_begin_an_element(found: Report, page: JobPage, root: Path) -> None:
    html = as_html(found, page, root=root, beside=root)
    data = html.partition('id="data">')[2].partition("</script>")[0]
    assert "<" not in data
    ids = [job["id"] for job in orjson.loads(data)["jobs"]]
    assert ids[0] == HOSTILE[0]
    assert ids[4] == "\\u202egnp.exe"
    assert ids[5] == "\\x1b[2Jgone"
    assert "<script>alert" not in html


@pytest.mark.parametrize("text", ["</script>", "<!--", "\u2028", "]]>"])
def test_embedded_json_is_still_the_same_value(text: str) -> None:
    assert orjson.loads(embedded({"a": text})) == {"a": text}
    assert "<" not in embedded({"a": text})


def test_no_cell_of_the_table_is_a_formula(page: JobPage) -> None:
    rows = list(csv.reader(io.StringIO(b"".join(as_csv(page.jobs)).decode())))
    assert len(rows) == JOBS + 1
    assert not [cell for row in rows[1:] for cell in row if cell.startswith(FORMULA_STARTS)]
    assert rows[3][1] == f"'{HOSTILE[2]}"


def test_json_is_versioned_and_whole(found: Report, page: JobPage) -> None:
    whole = orjson.loads(b"".join(as_json(found, page.jobs)))
    assert whole["version"] == 1
    assert len(whole["jobs"]) == JOBS


def test_the_few_lines_say_what_matters_and_hold_no_markup(found: Report) -> None:
    text = as_markdown(found)
    assert f"of {JOBS} succeeded" in text
    assert "kept: No job was paid for twice" in text
    assert "<" not in text


def test_media_are_named_from_where_the_page_lies(found: Report, page: JobPage, root: Path) -> None:
    beside = as_html(found, page, root=root, beside=root)
    above = as_html(found, page, root=root, beside=root.parent)
    assert '"media/clip-00000.mp4"' in beside
    assert '"night.run/media/clip-00000.mp4"' in above


def test_an_object_is_named_by_its_uri_wherever_the_page_lies(tmp_path: Path) -> None:
    root = make_run(tmp_path / "night.run", 1, store="s3://media/nights")
    with closing(open_for_reading(root / "run.db")) as db:
        (job,) = gallery(job_page(db), root=root, beside=tmp_path)["jobs"]
    assert job["files"][0][0] == "s3://media/nights/clip-00000.mp4"


def test_pages_follow_one_another_without_a_gap(root: Path, page: JobPage) -> None:
    with closing(open_for_reading(root / "run.db")) as db:
        line: int | None = 1
        seen: list[int] = []
        while line is not None:
            part = job_page(db, from_line=line, jobs_max=77)
            seen += [job.line for job in part.jobs]
            line = part.next_line
        assert seen == [job.line for job in page.jobs]
        assert job_page(db, from_line=JOBS + 1).jobs == ()


def test_the_command_writes_every_job_in_data_and_a_page_of_them_in_html(root: Path, tmp_path: Path) -> None:
    def report(*words: str) -> bytes:
        target = tmp_path / "made"
        result = CliRunner().invoke(report_command, [str(root), "-o", str(target), *words])
        assert result.exit_code == 0, result.output
        return target.read_bytes()

    assert len(orjson.loads(report("--format", "json", "--gallery", "3"))["jobs"]) == JOBS
    assert report("--format", "csv", "--gallery", "3").count(b"clip-") >= JOBS - len(HOSTILE)
    html = report("--gallery", "20", "--from-line", "41").decode()
    data = orjson.loads(html.partition('id="data">')[2].partition("</script>")[0])
    assert [job["line"] for job in data["jobs"]] == list(range(41, 61))
    assert (data["next_line"], data["survey"]["lines"]) == (61, JOBS)
