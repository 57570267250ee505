"""What a monitor reads: every figure of the tally under a documented name, from a server that ends with the run."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as families

from engine.console.metrics import CONNECTIONS_MAX, RunCollector, serving
from engine.errors import ConfigError, ExitCode
from engine.scheduling.stop import Manner, Stop
from engine.scheduling.tally import Tally
from tests.console.conftest import ended, engine, some_jobs, started
from tests.views import a_view

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from engine.run.run import Run
    from tests.console.conftest import Provider

pytestmark = pytest.mark.sockets

HOST = "127.0.0.1"


def a_run(**figures: Any) -> Any:
    """What of a run a monitor can see."""
    return SimpleNamespace(tally=Tally(**figures), stop=None, view=a_view, fleet="")


@pytest.fixture
def run() -> Any:
    tally = {"lines": 20, "pending": 7, "submitting": 1, "generating": 3, "queued": 2, "fetching": 1, "downloading": 1}
    ends = {"succeeded": 3, "failed": 1, "invalid": 1, "unknown": 1, "held": 1, "written": 5}
    money = {"spent_usd": 13.425, "reserved_usd": 26.85}
    here = {"submits": 9, "polls": 31, "throttles": 2, "downloaded_bytes": 1_000, "lag_sum_s": 4.5, "lag_jobs": 3}
    found = a_run(**tally, **ends, **money, **here)
    found.tally.causes["generation_failed"] = 1
    return found


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def text_of(session: aiohttp.ClientSession, url: str, **headers: str) -> str:
    async with session.get(url, headers=headers) as reply:
        assert reply.status == 200
        return await reply.text()


def samples(text: str) -> dict[str, float]:
    """Return every sample of ours by its name and labels, as a monitor would write them."""
    found = {}
    for family in families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return {name: value for name, value in found.items() if name.startswith("engine_") and "build" not in name}


async def test_every_figure_has_its_name_and_its_unit(run: Run, session: aiohttp.ClientSession) -> None:
    async with serving(run, host=HOST, port=0) as url:
        assert samples(await text_of(session, url)) == {
            'engine_jobs{state="pending"}': 7,
            'engine_jobs{state="submitting"}': 1,
            'engine_jobs{state="generating"}': 3,
            'engine_jobs{state="fetching"}': 1,
            'engine_jobs{state="downloading"}': 1,
            'engine_jobs{state="succeeded"}': 3,
            'engine_jobs{state="failed"}': 1,
            'engine_jobs{state="invalid"}': 1,
            'engine_jobs{state="unknown"}': 1,
            'engine_jobs{state="held"}': 1,
            "engine_job_lines": 20,
            "engine_input_complete": 0,
            "engine_in_flight": 6,
            "engine_queued": 2,
            "engine_result_lines": 5,
            "engine_stopping": 0,
            'engine_failures_total{kind="generation_failed"}': 1,
            'engine_requests_total{kind="submit"}': 9,
            'engine_requests_total{kind="poll"}': 31,
            "engine_throttled_total": 2,
            'engine_pace_requests_per_minute{lane="submit"}': 50,
            "engine_lag_seconds_count": 3,
            "engine_lag_seconds_sum": 4.5,
            "engine_downloaded_bytes_total": 1_000,
            "engine_spent_usd_total": 13.425,
            "engine_reserved_usd": 26.85,
        }


async def test_the_states_of_the_jobs_add_up_to_the_lines(run: Run) -> None:
    (jobs,) = [family for family in RunCollector(run).collect() if family.name == "engine_jobs"]
    assert sum(sample.value for sample in jobs.samples) == run.tally.lines


async def test_figures_are_read_anew_at_each_scrape(run: Run, session: aiohttp.ClientSession) -> None:
    async with serving(run, host=HOST, port=0) as url:
        before = samples(await text_of(session, url))["engine_throttled_total"]
        run.tally.note_throttle(0.0)
        assert samples(await text_of(session, url))["engine_throttled_total"] == before + 1


async def test_it_is_valid_open_metrics_for_who_asks_for_that(run: Run, session: aiohttp.ClientSession) -> None:
    accept = "application/openmetrics-text; version=1.0.0"
    async with serving(run, host=HOST, port=0) as url:
        text = await text_of(session, url, Accept=accept)
    names = {family.name for family in open_metrics(text)}  # type: ignore[no-untyped-call]
    assert {"engine_jobs", "engine_requests", "engine_lag_seconds", "engine_build"} <= names


async def test_the_sign_of_life_says_what_is_waited_for_and_why_it_stops(
    run: Any, session: aiohttp.ClientSession
) -> None:
    async with serving(run, host=HOST, port=0) as url:
        place = url.replace("/metrics", "/healthz")
        assert json.loads(await text_of(session, place)) == {
            "waits_for": None,
            "fleet": None,
            "stopping": None,
            "lines": 20,
            "at_rest": 5,
            "in_flight": 6,
        }
        run.view = lambda: a_view("credit")
        run.stop = Stop("budget", "no room", ExitCode.STOPPED, Manner.HARVEST)
        told = json.loads(await text_of(session, place))
        assert (told["waits_for"], told["stopping"]) == ("credit", "budget")


async def test_other_places_and_methods_are_refused(run: Run, session: aiohttp.ClientSession) -> None:
    async with serving(run, host=HOST, port=0) as url:
        async with session.get(url.replace("/metrics", "/run.db")) as reply:
            assert reply.status == 404
        async with session.post(url, data=b"x" * 10_000) as reply:
            assert reply.status == 405
        async with session.head(url) as reply:
            assert reply.status == 200


async def test_what_is_no_http_is_answered_in_silence(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    async with serving(run, host=HOST, port=0) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url))
        writer.write(b"\x16\x03\x01 what\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
        await writer.wait_closed()
    assert capfd.readouterr() == ("", "")


async def test_one_connection_too_many_is_closed_and_a_free_place_is_given_again(
    run: Run, session: aiohttp.ClientSession
) -> None:
    async with serving(run, host=HOST, port=0) as url:
        idle = []
        for _ in range(CONNECTIONS_MAX):
            idle.append(await asyncio.open_connection("127.0.0.1", port_of(url)))
            idle[-1][1].write(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
            assert b" 200 " in await idle[-1][0].readline()
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url))
        assert await reader.read() == b""
        writer.close()
        for _, other in idle:
            other.close()
            await other.wait_closed()
        await wait_for_an_answer(session, url)


async def wait_for_an_answer(session: aiohttp.ClientSession, url: str) -> None:
    for _ in range(100):
        try:
            await text_of(session, url)
        except aiohttp.ClientError:
            await asyncio.sleep(0.01)
        else:
            return
    pytest.fail("nobody answers")


async def test_the_server_ends_with_the_block_whoever_is_connected(run: Run) -> None:
    async with serving(run, host=HOST, port=0) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url))
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
        assert b" 200 " in await reader.readline()
    await reader.read()
    assert reader.at_eof()
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port_of(url))


async def test_a_taken_port_is_one_error_with_what_to_do(run: Run) -> None:
    async with serving(run, host=HOST, port=0) as url:
        with pytest.raises(ConfigError, match=r"metrics\.port: 127.0.0.1:\d+ cannot be opened .*in use") as caught:
            async with serving(run, host=HOST, port=port_of(url)):
                pass
    assert caught.value.exit_code == ExitCode.USAGE
    assert "metrics.port=N" in caught.value.hint


@pytest.mark.parametrize("host", ["", "a" * 70, "256.0.0.1.nowhere.invalid."])
async def test_a_host_that_is_none_is_named(run: Run, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_words: object, **_more: object) -> None:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    with pytest.raises(ConfigError, match=r"metrics\.(host|port)"):
        async with serving(run, host=host, port=0):
            pass


@pytest.mark.processes
def test_a_run_serves_its_figures_while_it_works(slow_provider: Provider, tmp_path: Path) -> None:
    some_jobs(tmp_path, 3)
    with started("run", "jobs.jsonl", *slow_provider.options("metrics.port=0"), cwd=tmp_path) as process:
        assert process.stderr is not None
        url = process.stderr.readline().decode().removeprefix("metrics: ").strip()
        read = [samples(text) for text in scrapes(url)]
        assert ended(process).code == 0
    assert max(figures["engine_in_flight"] for figures in read) > 0
    assert read[-1]["engine_job_lines"] == 3


def scrapes(url: str) -> Iterator[str]:
    """Read the figures again and again until nobody answers any more."""
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                yield reply.read().decode()
        except OSError:
            return


@pytest.mark.processes
async def test_a_taken_port_ends_a_run_before_anything_is_submitted(
    provider: Provider, run: Run, tmp_path: Path
) -> None:
    jobs = some_jobs(tmp_path, 3)
    before = provider.bill()["submits"]
    async with serving(run, host=HOST, port=0) as url:
        options = provider.options(f"metrics.port={port_of(url)}")
        done = await asyncio.to_thread(engine, "run", jobs, *options, "--on-stop", "echo stopped", cwd=tmp_path)
    assert done.code == 2
    assert done.err.startswith("error: metrics.port: ")
    assert "stopped" not in done.err
    assert provider.bill()["submits"] == before


@pytest.mark.processes
def test_a_second_run_with_the_same_port_is_told_of_the_first(slow_provider: Provider, tmp_path: Path) -> None:
    some_jobs(tmp_path, 5)
    options = slow_provider.options("metrics.port=0", "limits.max_in_flight=1")
    with started("run", "jobs.jsonl", *options, cwd=tmp_path) as process:
        assert process.stderr is not None
        port = port_of(process.stderr.readline().decode().strip())
        same = slow_provider.options(f"metrics.port={port}")
        assert engine("run", "jobs.jsonl", *same, cwd=tmp_path).code == 75
        assert ended(process).code == 0


def port_of(url: str) -> int:
    return int(url.removesuffix("/metrics").rpartition(":")[2])
