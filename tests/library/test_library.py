"""The engine inside a program: the promises of the command line, for jobs from any iterable."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engine import EngineError, Job, ResultLine, Run, RunConfig
from engine.errors import ExitCode
from engine.simulator import Scenario, Simulator
from tests.library.own_provider import Painter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.sockets

README = (Path(__file__).parents[2] / "README.md").read_text()
QUICK = {"work.duration_median_s": 0.15, "rate.requests_per_window": 0}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(Scenario.load("calm", QUICK)) as simulator:
        yield simulator


def settings_for(simulator: Simulator) -> tuple[str, ...]:
    return (
        "provider.preset=simulator",
        f"provider.base_url={simulator.base_url}",
        f"provider.history_url={simulator.history_url}",
        "limits.submits_per_minute=60000",
        "limits.polls_per_minute=600000",
        "polling.expected_duration_s=0.15",
        "recovery.grace_s=1",
        "storage.reserve_bytes=0",
    )


def config(simulator: Simulator, *settings: str) -> RunConfig:
    return RunConfig.load(None, [*settings_for(simulator), *settings])


def job(number: int) -> Job:
    urls = {"image_url": f"https://example.com/{number}.png", "audio_url": f"https://example.com/{number}.wav"}
    return Job(urls, id=f"clip-{number}", metadata={"row": number})


async def taken(run: Run, jobs: Any, *, most: int = 10_000) -> list[ResultLine]:
    found: list[ResultLine] = []
    async with aclosing(run.process(jobs)) as results:
        async for result in results:
            found.append(result)
            if len(found) == most:
                break
    return found


async def test_each_job_has_its_result_and_its_file(simulator: Simulator, tmp_path: Path) -> None:
    async with Run.open(tmp_path / "a.run", config(simulator)) as run:
        found = await taken(run, map(job, range(20)))
        assert run.exit_code is ExitCode.SUCCEEDED
        assert run.summary["succeeded"] == 20
    assert {result.id for result in found} == {f"clip-{number}" for number in range(20)}
    assert all((tmp_path / "a.run" / result.files[0].path).is_file() for result in found)
    assert [result.metadata for result in sorted(found, key=lambda result: result.line)] == [
        {"row": number} for number in range(20)
    ]


async def test_a_program_that_left_goes_on_and_pays_nothing_twice(simulator: Simulator, tmp_path: Path) -> None:
    async with Run.open(tmp_path / "a.run", config(simulator)) as run:
        first = await taken(run, map(job, range(30)), most=5)
    async with Run.open(tmp_path / "a.run", config(simulator)) as run:
        again = await taken(run, map(job, range(40)))
    await simulator.idle()
    assert len(first) == 5
    assert sorted(result.id or "" for result in again) == sorted(f"clip-{number}" for number in range(40))
    assert {result.id: result for result in again}[first[0].id] == first[0]
    assert (simulator.bill().paid, simulator.bill().paid_more_than_once) == (40, 0)


async def test_a_cancelled_program_leaves_a_run_that_goes_on(simulator: Simulator, tmp_path: Path) -> None:
    async def work() -> None:
        async with Run.open(tmp_path / "a.run", config(simulator)) as run:
            await taken(run, map(job, range(30)))

    task = asyncio.create_task(work())
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with Run.open(tmp_path / "a.run", config(simulator)) as run:
        assert len(await taken(run, map(job, range(30)))) == 30
    assert (simulator.bill().paid, simulator.bill().paid_more_than_once) == (30, 0)


async def test_jobs_are_taken_only_as_there_is_room(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.library.WAITING_MAX", 5)
    pulled = 0

    async def endless() -> AsyncIterator[Job]:
        nonlocal pulled
        while True:
            pulled += 1
            yield job(pulled)

    async with (
        Run.open(tmp_path / "a.run", config(simulator, "limits.max_in_flight=10")) as run,
        aclosing(run.process(endless())) as results,
    ):
        await anext(results)
        await asyncio.sleep(1.0)  # nobody takes results: soon nothing new is taken in
        held = pulled
        await asyncio.sleep(0.5)
        assert pulled == held < 60
        for _ in range(3 * held):
            await anext(results)
        assert pulled > held


async def test_stop_brings_home_what_was_paid_for(simulator: Simulator, tmp_path: Path) -> None:
    def until_stopped() -> Iterator[Job]:
        for number in range(1_000):
            if number == 15:
                run.stop()
            yield job(number)

    async with Run.open(tmp_path / "a.run", config(simulator, "limits.submits_per_minute=1200")) as run:
        found = await taken(run, until_stopped())
        assert run.exit_code is ExitCode.STOPPED
    assert len(found) == simulator.bill().accepted == simulator.bill().paid


async def test_jobs_without_ids_keep_their_names(simulator: Simulator, tmp_path: Path) -> None:
    jobs = [Job(job(0).params), Job(job(1).params), Job(job(0).params)]
    names = []
    for _ in range(2):
        async with Run.open(tmp_path / "a.run", config(simulator)) as run:
            names.append(sorted(result.id or "" for result in await taken(run, jobs)))
    assert names[0] == names[1]
    assert len(set(names[0])) == 3
    assert simulator.bill().paid == 3


async def test_an_id_that_means_something_else_is_refused(simulator: Simulator, tmp_path: Path) -> None:
    async with Run.open(tmp_path / "a.run", config(simulator)) as run:
        await taken(run, [job(1)])
    with pytest.raises(EngineError, match="'clip-1' was given other params"):
        async with Run.open(tmp_path / "a.run", config(simulator)) as run:
            await taken(run, [Job(job(2).params, id="clip-1")])


def test_what_is_no_fleet_is_said_before_anything_is_opened(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="'nowhere' is no fleet"):
        Run.open(tmp_path / "a.run", fleet="nowhere")
    assert not (tmp_path / "a.run").exists()


async def test_what_is_no_job_is_said_so(simulator: Simulator, tmp_path: Path) -> None:
    async with Run.open(tmp_path / "a.run", config(simulator)) as run:
        (found,) = await taken(run, [Job({"image_url": "https://example.com/a.png"}, id="half")])
    assert found.status == "invalid"
    assert found.error is not None
    assert "audio_url" in found.error.message


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Job({"image_url": object()}), "in a job params.image_url is of the type object"),
        (Job({**job(1).params, "seed": float("nan")}, id="clip-1"), "in the job 'clip-1' params.seed is nan"),
        (
            Job(job(1).params, metadata={"on": datetime(2026, 1, 1, tzinfo=UTC)}),
            "in a job metadata.on is of the type datetime",
        ),
    ],
)
async def test_what_json_cannot_hold_is_no_job(simulator: Simulator, tmp_path: Path, bad: Job, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        async with Run.open(tmp_path / "b.run", config(simulator)) as run:
            await taken(run, [bad])
    assert simulator.bill().accepted == 0


@pytest.mark.parametrize(
    ("item", "words"), [({"image_url": "https://example.com/a.png"}, "a dict"), ("clip-1", "a str"), (7, "an int")]
)
@pytest.mark.parametrize("before", [0, 2])
async def test_what_is_no_job_at_all_is_said_in_one_sentence(
    simulator: Simulator, tmp_path: Path, item: object, words: str, before: int
) -> None:
    with pytest.raises(TypeError, match=f"^process takes engine.Job, and was given {words}; for example Job"):
        async with Run.open(tmp_path / "b.run", config(simulator)) as run:
            await taken(run, [*map(job, range(before)), item])


async def test_a_failing_iterable_raises_where_its_results_are_taken(simulator: Simulator, tmp_path: Path) -> None:
    def broken() -> Iterator[Job]:
        yield job(1)
        raise RuntimeError("the database is away")

    with pytest.raises(RuntimeError, match="the database is away"):
        async with Run.open(tmp_path / "a.run", config(simulator)) as run:
            await taken(run, broken())
    async with Run.open(tmp_path / "a.run", config(simulator)) as run:
        assert len(await taken(run, [job(1)])) == 1
        with pytest.raises(EngineError, match="called before"):
            await taken(run, [job(2)])
    assert simulator.bill().paid == 1


async def test_a_provider_of_ones_own(tmp_path: Path) -> None:
    painter = Painter()
    settings = ["provider.model=oil", "downloads.enabled=false", "polling.expected_duration_s=0.1"]
    async with Run.open(tmp_path / "a.run", RunConfig.load(None, settings), provider=painter) as run:
        found = await taken(run, [Job({"subject": f"number {number}"}) for number in range(12)])
    assert [result.status for result in found] == ["succeeded"] * 12
    assert painter.painted == 12


async def test_the_readmes_example_runs(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = re.search(r"```python\n(.+?)```", README, re.DOTALL)
    assert example
    pairs = [setting.partition("=") for setting in settings_for(simulator)]
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "overnight.toml").write_text(
        "".join(f"{key} = {value if value[0].isdigit() else repr(value)}\n" for key, _, value in pairs)
    )
    monkeypatch.chdir(tmp_path)
    await asyncio.to_thread(exec, compile(example[1], "README.md", "exec"), {})
    assert capsys.readouterr().out.count("clip-001 succeeded ['media/clip-001-") == 1
