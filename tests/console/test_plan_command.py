"""``engine plan``: everything that can be known before a cent is paid."""

from __future__ import annotations

import functools
import http.server
import json
import re
import threading
from typing import TYPE_CHECKING

import pytest

from tests.console.conftest import engine, some_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.console.conftest import Provider

pytestmark = [pytest.mark.processes, pytest.mark.sockets]

URLS = {"image_url": "https://example.com/a.png", "audio_url": "https://example.com/a.wav"}
OFFLINE = ("--offline", "--set", "provider.preset=simulator")


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_words: object) -> None: ...


@pytest.fixture
def files(tmp_path: Path) -> Iterator[str]:
    """A web server on the loopback address that has the file ``there``."""
    (tmp_path / "there").write_bytes(b"content")
    with http.server.HTTPServer(("127.0.0.1", 0), functools.partial(_Files, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two equal jobs, a line that is no JSON, a line without a required parameter."""
    lines = [json.dumps({"id": id_, "params": URLS}) for id_ in ("a", "b")]
    path = tmp_path / "mixed.jsonl"
    path.write_text("\n".join([*lines, "{bad", '{"id": "c", "params": {"image_url": "https://e.com/a"}}']) + "\n")
    return path


def test_a_good_batch_ends_with_0(tmp_path: Path) -> None:
    assert engine("plan", some_jobs(tmp_path, 3), *OFFLINE, cwd=tmp_path).code == 0


def test_invalid_lines_end_it_with_1_and_are_named(mixed: Path, tmp_path: Path) -> None:
    done = engine("plan", mixed, *OFFLINE, cwd=tmp_path)
    assert done.code == 1
    assert "warning: line 3: " in done.err
    assert "warning: line 4, 'c': params.audio_url is missing" in done.err


def test_equal_bodies_are_counted_with_what_they_cost(mixed: Path, tmp_path: Path) -> None:
    made = json.loads(engine("plan", mixed, "--json", *OFFLINE, cwd=tmp_path).out)
    assert (made["equal_bodies"], made["submissions"], made["cost_usd"]) == (1, 2, 8.95)
    assert made["equal_bodies_usd"] == pytest.approx(4.475, abs=0.01)


def test_what_nobody_knows_of_a_model_leaves_the_figures_of_the_others(tmp_path: Path) -> None:
    odd = json.dumps({"id": "odd", "model": "unheard-of", "params": URLS})
    path = some_jobs(tmp_path, 2)
    path.write_text(path.read_text() + odd + "\n")
    said = engine("plan", path, *OFFLINE, "--set", "storage.reserve_bytes=0", cwd=tmp_path).out
    assert "cost        at least $8.95, and 1 job of unknown price\n" in said
    assert "time        at least about 12 min, and 1 job of unknown duration\n" in said
    assert ": 1 job\n" in said
    assert re.search(r"disk +[\d,.]+ GB free: room for [\d,.]+ MB a job\n", said)


def test_an_empty_input_needs_no_room(tmp_path: Path) -> None:
    said = engine("plan", "-", *OFFLINE, cwd=tmp_path).out
    assert "cost        $0.00\ntime        none\n" in said
    assert "a job" not in said


def test_large_numbers_can_be_read(mixed: Path, tmp_path: Path) -> None:
    paces = ("--set", "limits.polls_per_minute=600000", "--set", "limits.submits_per_minute=60000")
    assert re.search(r"in flight +up to \d,\d{3},\d{3} can", engine("plan", mixed, *OFFLINE, *paces, cwd=tmp_path).out)


def test_json_is_one_line_on_stdout(mixed: Path, tmp_path: Path) -> None:
    assert engine("plan", mixed, "--json", *OFFLINE, cwd=tmp_path).out.count("\n") == 1


def test_it_leaves_nothing_behind(mixed: Path, tmp_path: Path) -> None:
    engine("plan", mixed, *OFFLINE, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == [mixed]


def test_stdin_can_be_planned(mixed: Path, tmp_path: Path) -> None:
    done = engine("plan", "-", "--json", *OFFLINE, cwd=tmp_path, stdin=mixed.read_bytes())
    assert json.loads(done.out)["lines"] == 4


def test_the_balance_is_the_only_request(provider: Provider, mixed: Path, tmp_path: Path) -> None:
    before = provider.requests
    done = engine("plan", mixed, *provider.options(), cwd=tmp_path)
    assert "balance" in done.out
    assert provider.requests == before + 1


def test_offline_makes_no_request(provider: Provider, mixed: Path, tmp_path: Path) -> None:
    before = provider.requests
    engine("plan", mixed, "--offline", *provider.options(), cwd=tmp_path)
    assert provider.requests == before


def test_urls_that_do_not_answer_are_named(files: str, tmp_path: Path) -> None:
    (tmp_path / "jobs.jsonl").write_text(json.dumps({"image_url": f"{files}/there", "audio_url": f"{files}/gone"}))
    done = engine(
        "plan", "jobs.jsonl", "--check-urls", "--json", *OFFLINE, "--set", "downloads.allow_private_hosts=true",
        cwd=tmp_path,
    )  # fmt: skip
    assert json.loads(done.out)["unanswered_urls"] == {f"{files}/gone": "HTTP 404"}
    assert done.code == 1
