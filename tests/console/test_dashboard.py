"""The live page: reached with its token alone, fed from the ledger, and its buttons steer the run."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests.console.conftest import QUICK, ended, engine, provider_with, results, some_jobs, started
from tests.report.test_browser import CHROMIUM
from tests.waiting import wait_in_thread_until

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.console.conftest import Provider

pytestmark = [pytest.mark.processes, pytest.mark.sockets]


def _get(url: str, *, body: bytes | None = None) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=10) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def _url(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


@pytest.fixture
def run_dir(provider: Provider, jobs: Path, tmp_path: Path) -> Path:
    assert engine("run", jobs, *provider.options(), cwd=tmp_path).code == 0
    return tmp_path / "jobs.run"


def test_it_shows_the_run_to_whoever_has_the_token_and_to_nobody_else(run_dir: Path) -> None:
    with started("dashboard", run_dir, cwd=run_dir.parent) as process:
        url = _url(process)
        status, page = _get(url)
        assert (status, b"data-live" in page) == (200, True)
        whole = json.loads(_get(url + "data.json?jobs")[1])
        assert whole["survey"]["succeeded"] == len(whole["jobs"]) == 3
        assert "jobs" not in json.loads(_get(url + "data.json")[1])
        media = whole["jobs"][0]["files"][0][0]
        assert _get(url + media)[1] == (run_dir / media).read_bytes()
        origin = url.rsplit("/", 2)[0]
        assert {_get(origin + path)[0] for path in ("/", "/x/", "/x/data.json")} == {404}
        assert {_get(url + path)[0] for path in ("run.db", "../run.db", "media/../run.db", "%2e%2e/run.db")} == {404}
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"action": "explode"}', b'{"action": "set"}', b"x" * 5_000])
def test_what_is_no_button_is_refused_and_orders_nothing(run_dir: Path, body: bytes) -> None:
    with started("dashboard", run_dir, cwd=run_dir.parent) as process:
        assert _get(_url(process) + "control", body=body or b" ")[0] in {400, 413}
        process.terminate()
        process.wait(10)
    assert not (run_dir / "control.jsonl").exists()


def test_a_port_that_is_taken_is_named(run_dir: Path) -> None:
    with started("dashboard", run_dir, cwd=run_dir.parent) as process:
        port = _url(process).split("/")[2].rpartition(":")[2]
        done = engine("dashboard", run_dir, "--port", port, cwd=run_dir.parent)
        assert (done.code, f"the port {port} of the dashboard cannot be used" in done.err) == (2, True)
        process.terminate()
        process.wait(10)


def test_its_buttons_pause_and_resume_a_run_at_work(tmp_path: Path) -> None:
    jobs = some_jobs(tmp_path, 20)
    with provider_with(*QUICK) as provider:
        options = provider.options("limits.max_in_flight=1")
        with started("run", jobs, "--dashboard", "0", *options, cwd=tmp_path) as process:
            assert process.stderr is not None
            url = process.stderr.readline().decode().split()[-1]
            assert _get(url + "control", body=b'{"action": "pause"}')[0] == 200

            def whole() -> Any:
                return json.loads(_get(url + "data.json")[1])

            wait_in_thread_until(
                lambda: whole()["paused"] and whole()["survey"]["in_flight"] == 0, description="it is paused"
            )
            assert whole()["survey"]["succeeded"] < 20
            assert _get(url + "control", body=b'{"action": "resume"}')[0] == 200
            assert ended(process).code == 0
    assert len(results(tmp_path / "jobs.run")) == 20


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed to press buttons in")
def test_a_person_presses_pause_in_a_browser(run_dir: Path) -> None:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with started("dashboard", run_dir, cwd=run_dir.parent) as process, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        wrong: list[str] = []
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(_url(process))
        page.locator("#live", has_text="nobody works on it").wait_for()
        page.locator("#pause", has_text="Pause").click()
        page.locator("#pause", has_text="Resume").wait_for()
        browser.close()
        process.terminate()
        process.wait(10)
    assert wrong == []
    assert '"pause"' in (run_dir / "control.jsonl").read_text()
