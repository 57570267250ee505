"""Every kind of bad input a user can bring: refused line by line, by number and reason; the rest runs."""

from __future__ import annotations

import gzip
import json
import os
import signal
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.console.conftest import Ended, ended, engine, results, some_jobs, started
from tests.waiting import wait_in_thread_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.console.conftest import Provider

pytestmark = [pytest.mark.processes, pytest.mark.sockets]

BOM = b"\xef\xbb\xbf"
URLS = {"image_url": "https://example.com/face.png", "audio_url": "https://example.com/take.wav"}
STEERING = "\x1b[31mred\x07\u202e\x9b2J"


def _job(id_: str, **params: Any) -> bytes:
    return json.dumps({"id": id_, "params": {**URLS, **params}}).encode()


def _raw(id_: str, param: bytes) -> bytes:
    return b'{"id":"%s","params":{"image_url":"https://e.com/a","audio_url":"https://e.com/b",%s}}' % (
        id_.encode(),
        param,
    )


ROWS: list[tuple[bytes, str | None, str]] = [
    (BOM + _job("bom"), None, ""),
    (_job("crlf") + b"\r", None, ""),
    (_job("not utf-8").replace(b"not utf-8", b"\xff"), "bad_line", "UTF-8"),
    (_job("utf-16").decode().encode("utf-16-le"), "bad_line", "UTF-16"),
    (gzip.compress(_job("gzip")).replace(b"\n", b""), "bad_line", "gzip"),
    (_raw("nan", b'"seed":NaN'), "bad_line", "NaN"),
    (_raw("twice", b'"prompt":"a","prompt":"b"'), "bad_line", "twice"),
    (_job("huge", prompt="x" * (8 * 2**20)), "bad_line", "8388608"),
    (_raw("deep", b'"prompt":' + b"[" * 100_000 + b"]" * 100_000), "bad_line", "deeper than 64"),
    (b"[1, 2]", "bad_line", "array"),
    (b"{", "bad_line", "JSON"),
    (_raw("nul", b'"prompt":"\\u0000"'), "bad_line", "NUL"),
    (_raw("wide", b'"seed":99999999999999999999999'), "bad_line", "64 bits"),
    (b'{"id":"half","params":{"image_url":"https://e.com/a"}}', "bad_params", "audio_url is missing"),
    (_job("typed", image_url=17), "bad_params", "a number"),
    (_job("no url", image_url="hello"), "bad_params", "'hello'"),
    (_job("same"), None, ""),
    (_job("same", prompt="other"), "duplicate_id", "line 19"),
    (_job(STEERING, prompt=STEERING), None, ""),
    (_job("=HYPERLINK(1)", image_url=f"nope{STEERING}"), "bad_params", "image_url"),
    (_job("no final newline"), None, ""),
]
BLANK_LINES = (2, 3)  # they stand behind the second row


@dataclass
class Outcome:
    """What one run over all rows came to."""

    ended: Ended
    lines: dict[int, dict[str, Any]]
    log: str
    submits: int


@pytest.fixture(scope="module")
def outcome(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    directory = tmp_path_factory.mktemp("rows")
    texts = [text for text, _, _ in ROWS]
    (directory / "jobs.jsonl").write_bytes(b"\n".join([*texts[:2], b"", b"  ", *texts[2:]]))
    before = provider.bill()["submits"]
    done = engine("run", "jobs.jsonl", *provider.options(), cwd=directory)
    submits = provider.bill()["submits"] - before
    lines = results(directory / "jobs.run")
    assert len(lines) == len(ROWS)
    by_line = {line["line"]: line for line in lines}
    return Outcome(done, by_line, (directory / "jobs.run" / "run.log").read_text(), submits)


@pytest.mark.parametrize(("row", "kind", "reason"), [(row, kind, why) for row, (_, kind, why) in enumerate(ROWS)])
def test_each_row_comes_to_what_the_contract_says(outcome: Outcome, row: int, kind: str | None, reason: str) -> None:
    line = outcome.lines[row + 1 + (len(BLANK_LINES) if row >= BLANK_LINES[0] else 0)]
    if kind is None:
        assert line["status"] == "succeeded"
    else:
        assert (line["status"], line["error"]["kind"]) == ("invalid", kind)
        assert reason in line["error"]["message"]


def test_invalid_lines_do_not_end_the_run(outcome: Outcome) -> None:
    assert outcome.ended.code == 1


def test_nothing_invalid_is_paid_for(outcome: Outcome) -> None:
    assert outcome.submits == sum(kind is None for _, kind, _ in ROWS)


def test_ids_and_params_cannot_steer_the_terminal(outcome: Outcome) -> None:
    assert not _steering_in(outcome.ended.err)


def test_ids_and_params_cannot_steer_whoever_shows_the_log(outcome: Outcome) -> None:
    assert not _steering_in(outcome.log)


def test_the_log_still_means_what_was_written(outcome: Outcome) -> None:
    assert STEERING in {json.loads(line).get("id") for line in outcome.log.splitlines()}


def _steering_in(text: str) -> set[str]:
    return {character for character in text if unicodedata.category(character) in {"Cc", "Cf"}} - {"\n"}


def test_a_job_runs_before_the_next_line_is_written(provider: Provider, tmp_path: Path) -> None:
    lines = some_jobs(tmp_path, 2).read_bytes().splitlines(keepends=True)
    out, into = os.pipe()
    with started("run", "-", "--run-dir", "r", *provider.options(), cwd=tmp_path, stdin=out) as process:
        os.close(out)
        os.write(into, lines[0])
        output = tmp_path / "r" / "results.jsonl"
        wait_in_thread_until(
            lambda: output.is_file() and output.stat().st_size, description="the first job is at rest", within_s=20
        )
        os.write(into, lines[1])
        os.close(into)
        assert ended(process).code == 0
    assert len(results(tmp_path / "r")) == 2


def test_what_is_probably_not_meant_is_said_before_it_is_paid_for(provider: Provider, tmp_path: Path) -> None:
    out, into = os.pipe()
    with started("run", "-", "--run-dir", "r", *provider.options(), cwd=tmp_path, stdin=out) as process:
        os.close(out)
        os.write(into, _job("a", promt="typed in haste") + b"\n")
        assert process.stderr is not None
        assert b"line 1: " in (said := process.stderr.readline())
        assert b"'promt', did you mean 'prompt'?" in said
        os.close(into)
        done = ended(process)
    assert done.err.count("'promt'") == 1  # and once more in the end


@pytest.mark.parametrize(("flags", "times"), [((), 2), (("--quiet",), 0)])
def test_a_warning_is_said_when_it_is_seen_and_in_the_end(
    provider: Provider, tmp_path: Path, flags: tuple[str, ...], times: int
) -> None:
    (tmp_path / "odd.jsonl").write_bytes(_job("a", promt="a") + b"\n" + _job("b", promt="b") + b"\n")
    done = engine("run", "odd.jsonl", *flags, *provider.options(), cwd=tmp_path)
    assert done.err.count("'promt', did you mean 'prompt'?") == times
    assert ("(line 1 and 1 more)" in done.err) is (times > 0)


def test_a_pipe_that_closes_in_the_middle_of_a_line_leaves_that_line_invalid(
    provider: Provider, tmp_path: Path
) -> None:
    whole = some_jobs(tmp_path, 2).read_bytes()
    done = engine("run", "-", "--run-dir", "r", *provider.options(), cwd=tmp_path, stdin=whole[:-20])
    assert done.code == 1
    assert {line["line"]: line["status"] for line in results(tmp_path / "r")} == {1: "succeeded", 2: "invalid"}


def test_an_empty_input_is_said_to_be_empty(provider: Provider, tmp_path: Path) -> None:
    done = engine("run", "-", "--run-dir", "r", *provider.options(), cwd=tmp_path)
    assert done.code == 0
    assert "no job line" in done.err


def test_stdin_needs_a_run_directory(tmp_path: Path) -> None:
    done = engine("run", "-", cwd=tmp_path)
    assert done.code == 2
    assert "--run-dir" in done.err


def test_a_run_from_stdin_is_resumed_without_it(slow_provider: Provider, tmp_path: Path) -> None:
    lines = some_jobs(tmp_path, 3).read_bytes()
    command = ("run", "-", "--run-dir", "r", *slow_provider.options("limits.max_in_flight=1"))
    out = _pipe_with(lines)
    with started(*command, cwd=tmp_path, stdin=out) as process:
        os.close(out)
        ledger = tmp_path / "r" / "run.log"
        wait_in_thread_until(
            lambda: ledger.is_file() and "input_complete" in ledger.read_text(), description="all lines are spooled"
        )
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    done = engine("resume", "r", "--set", "limits.max_in_flight=200", cwd=tmp_path)
    assert done.code == 0
    assert len(results(tmp_path / "r")) == 3


def _pipe_with(content: bytes) -> int:
    out, into = os.pipe()
    os.write(into, content)
    os.close(into)
    return out


@pytest.fixture(scope="module")
def finished(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("finished")
    some_jobs(directory, 3)
    assert engine("run", "jobs.jsonl", *provider.options(), cwd=directory).code == 0
    return directory


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace(b"clip-00001", b"clip-99999"), "different now"),
        (lambda text: text[: len(text) // 2], "were read before"),
        (lambda text: text + _job("late") + b"\n", "--append"),
    ],
    ids=["edited", "shortened", "appended"],
)
def test_an_input_that_changed_is_refused(provider: Provider, finished: Path, change: Any, words: str) -> None:
    changed = finished / "changed.jsonl"
    changed.write_bytes(change((finished / "jobs.jsonl").read_bytes()))
    done = engine("run", changed, "--run-dir", "jobs.run", *provider.options(), cwd=finished)
    assert done.code == 2
    assert words in done.err


def test_appended_lines_are_taken_in_with_the_flag(provider: Provider, jobs: Path, tmp_path: Path) -> None:
    assert engine("run", jobs, *provider.options(), cwd=tmp_path).code == 0
    with jobs.open("ab") as file:
        file.write(_job("late") + b"\n")
    done = engine("run", jobs, "--append", *provider.options(), cwd=tmp_path)
    assert done.code == 0
    assert [line["line"] for line in results(tmp_path / "jobs.run")][-1] == 4


def test_the_second_run_of_a_finished_batch_says_so_and_asks_nothing(provider: Provider, finished: Path) -> None:
    before = provider.requests
    done = engine("run", "jobs.jsonl", *provider.options(), cwd=finished)
    assert done.code == 0
    assert "nothing was left to do" in done.err
    assert provider.requests == before
