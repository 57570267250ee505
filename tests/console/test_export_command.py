"""Results as a table, as a person asks for them: real runs, real processes, files that are whole or not there."""

from __future__ import annotations

import csv
import io
import json
import os
import resource
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from tests.console.conftest import ended, engine, results, some_jobs, started
from tests.report.ledgers import make_run
from tests.waiting import wait_in_thread_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.console.conftest import Ended, Provider

pytestmark = [pytest.mark.processes, pytest.mark.sockets]

TABLE = (
    "id,image_url,audio_url,prompt,metadata.row:integer,metadata.formula\n"
    'a,https://example.com/a.png,https://example.com/a.wav,"Grüße, 東京",7,=1+1\n'
    "b,https://example.com/b.png,,no voice,8,-5\n"
    'c,https://example.com/c.png,https://example.com/c.wav,"two ""quoted""\nlines",,@x\n'
)
QUICK = (
    *("--set", "provider.preset=simulator", "--set", "simulator.work.duration_median_s=0.1"),
    *("--set", "polling.expected_duration_s=0.1", "--set", "limits.submits_per_minute=6000", "--quiet"),
)
UNFINISHED = "jobs are not at rest yet, and not in the table"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a run of the table above: two succeeded, one line is invalid."""
    directory = tmp_path_factory.mktemp("people")
    (directory / "people.csv").write_text(TABLE)
    assert engine("run", "people.csv", *QUICK, cwd=directory).code == 1
    return directory


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a run that is still under way, as its ledger tells."""
    directory = tmp_path_factory.mktemp("night")
    make_run(directory / "night.run", 300)
    return directory


def rows_of(text: str, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


def test_who_came_with_a_table_gets_his_columns_back_beside_the_results(finished: Path) -> None:
    done = engine("export", "people.run", cwd=finished)
    assert (done.code, done.err) == (0, "")
    lines = {line["id"]: line for line in results(finished / "people.run")}
    first, second, third = rows_of(done.out)
    assert [row["line"] for row in (first, second, third)] == ["2", "3", "4"]  # as a spreadsheet counts
    assert [row["status"] for row in (first, second, third)] == ["succeeded", "invalid", "succeeded"]
    assert (first["params_prompt"], third["params_prompt"]) == ("Grüße, 東京", 'two "quoted"\nlines')
    assert [row["metadata_row"] for row in (first, second, third)] == ["7", "8", ""]
    assert [row["metadata_formula"] for row in (first, second, third)] == ["'=1+1", "-5", "'@x"]
    assert second["error_kind"] == "bad_params"
    assert second["error_message"] == lines["b"]["error"]["message"]
    assert (second["file"], second["files"], second["params_prompt"]) == ("", "0", "")
    assert (finished / "people.run" / first["file"]).stat().st_size == int(first["bytes"])
    assert first["sha256"] == lines["a"]["files"][0]["sha256"]
    assert float(first["cost_usd"]) == lines["a"]["cost_usd"]
    assert first["stored_utc"] == lines["a"]["timings"]["stored_utc"]


@pytest.mark.parametrize(
    ("name", "words", "delimiter"),
    [
        ("a.csv", (), ","),
        ("a.TSV", (), "\t"),
        ("a.txt", ("--format", "tsv"), "\t"),
        ("a.parquet", ("--format", "csv"), ","),
    ],
)
def test_a_file_is_what_its_name_or_the_format_says(
    finished: Path, tmp_path: Path, name: str, words: tuple[str, ...], delimiter: str
) -> None:
    done = engine("export", finished / "people.run", "-o", name, *words, cwd=tmp_path)
    assert (done.code, done.out, done.err) == (0, "", f"wrote {name} with 3 rows\n")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    rows = rows_of((tmp_path / name).read_bytes().decode(), delimiter)
    assert rows == rows_of(engine("export", finished / "people.run", cwd=tmp_path).out)


def test_parquet_has_types_and_texts_as_they_were(finished: Path, tmp_path: Path) -> None:
    done = engine("export", finished / "people.run", "-o", "a.parquet", cwd=tmp_path)
    assert (done.code, done.err) == (0, "wrote a.parquet with 3 rows\n")
    table = pq.read_table(tmp_path / "a.parquet", memory_map=False)
    assert table.column("line").to_pylist() == [2, 3, 4]
    assert table.column("metadata_row").to_pylist() == [7, 8, None]
    assert table.column("metadata_formula").to_pylist() == ["=1+1", "-5", "@x"]
    assert table.column("cost_usd").null_count == 1
    assert str(table.schema.field("stored_utc").type) == "timestamp[ms, tz=UTC]"


def test_only_the_rows_and_columns_that_are_asked_for(finished: Path) -> None:
    words = ("--status", "invalid", "--columns", 'id, error_kind,"metadata_row"')
    done = engine("export", "people.run", *words, cwd=finished)
    assert done.out == "id,error_kind,metadata_row\r\nb,bad_params,8\r\n"


def test_an_unfinished_run_gives_what_is_at_rest_and_says_what_is_not(unfinished: Path) -> None:
    status = json.loads(engine("status", "night.run", "--json", cwd=unfinished).out)
    done = engine("export", "night.run", cwd=unfinished)
    assert done.code == 0
    rows = rows_of(done.out)
    places = [row["status"] for row in rows]
    for place in ("succeeded", "failed", "invalid"):
        assert places.count(place) == status[place] > 0
    assert f"{300 - len(rows)} of 300 {UNFINISHED}" in done.err
    assert [int(row["line"]) for row in rows] == sorted(int(row["line"]) for row in rows)


def test_a_table_is_written_beside_a_running_process(slow_provider: Provider, tmp_path: Path) -> None:
    jobs = some_jobs(tmp_path, 3)
    with jobs.open("a") as file:
        file.write("no job\n")
    read, write = os.pipe()  # an input that does not end, so neither does the run
    command = ("run", "-", "--run-dir", "r", *slow_provider.options())
    with os.fdopen(read, "rb") as lines, started(*command, cwd=tmp_path, stdin=lines) as process:
        os.write(write, jobs.read_bytes())
        output = tmp_path / "r" / "results.jsonl"
        wait_in_thread_until(
            lambda: output.is_file() and output.read_bytes().count(b"\n") == 4,
            description="what was read is at rest",
            within_s=30,
        )
        done = engine("export", "r", cwd=tmp_path)
        assert process.poll() is None
        os.close(write)
        ended(process)
    assert [row["status"] for row in rows_of(done.out)] == [*["succeeded"] * 3, "invalid"]
    assert f"0 of 4 {UNFINISHED}; the input is not read to its end" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--format", "parket"), "'parket' is not one of 'csv', 'tsv', 'parquet', did you mean 'parquet'?"),
        (("--status", "suceeded"), "did you mean 'succeeded'?"),
        (("--columns", "line,stats"), "this run has no column 'stats', did you mean 'status'?"),
        (("--columns", "line,prompt"), "did you mean 'params_prompt'?"),
        (("--columns", "line,,id"), "--columns names a column that has no name"),
        (("--columns", ""), "--columns names a column that has no name"),
        (("--format", "parquet"), "Parquet needs a file to be written to"),
        (("-o", "a.parqet"), "a.parqet does not say what it is to hold, did you mean 'parquet'?"),
        (("-o", "results"), "results does not say what it is to hold"),
        (("-o", "nowhere/a.csv"), "the table cannot be written to nowhere/a.csv (No such file or directory)"),
        (("-o", os.devnull, "--format", "csv"), f"{os.devnull} is no file that a table could replace"),
    ],
)
def test_what_cannot_be_is_one_clear_error(
    finished: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    done = engine("export", finished / "people.run", *words, cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert "\nhint: " in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_directory_without_a_run_is_refused(tmp_path: Path) -> None:
    done = engine("export", "nothing.run", cwd=tmp_path)
    assert done.code == 2
    assert "is not a run directory" in done.err


def test_a_reader_that_leaves_is_met_as_by_the_report(tmp_path: Path) -> None:
    make_run(tmp_path / "night.run", 2_000)
    export, report = (_left_by_its_reader(tmp_path, *words) for words in (("export",), ("report", "--format", "csv")))
    assert export == report
    assert export.err == ""


def _left_by_its_reader(directory: Path, command: str, *words: str) -> Ended:
    """Run a command whose reader takes one line and leaves."""
    with started(command, "night.run", *words, cwd=directory) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"line,id,")
        process.stdout.close()
        process.stdout = None
        return ended(process)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_file_that_cannot_be_finished_leaves_the_old_one_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, name: str
) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))  # SQLite shares 32 KiB with whoever else reads

    run = make_run(tmp_path_factory.mktemp("long") / "night.run", 2_000)
    (tmp_path / name).write_text("old")
    done = engine("export", run, "-o", name, cwd=tmp_path, preexec_fn=limit)
    assert done.code == 4
    assert f"the table cannot be written to {name} (File too large)" in done.err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "old"
