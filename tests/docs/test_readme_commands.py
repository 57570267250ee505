"""Every example command of the README runs as it stands there, against a provider of this machine.

What an example needs is there as the README has it: an input, a table, a finished run, a run at work. Commands are
given the simulator's address on top of their own words, and nothing else.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine.provider.api_key import SIMULATOR_KEY
from tests.console.conftest import ENGINE, QUICK, SLOW, Provider, ended, engine, environment, provider_with, started
from tests.crash.harness import write_jobs
from tests.waiting import wait_in_thread_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.processes, pytest.mark.sockets, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
NEEDS_PROVIDER = frozenset({"run", "resume", "retry", "plan", "doctor"})
ELSEWHERE = {
    "simulate": "serves until it is ended; the provider of this very test is one",
    "dashboard": "serves until it is ended: tests/console/test_dashboard.py",
    "--dashboard": "the same",
    "--watch": "shows until it is ended: tests/console/test_status_command.py",
    "metrics.port": "a port that others may have: tests/console/test_metrics.py",
    "--fleet": "needs Ray: tests/fleet/test_ray.py",
    "s3://": "needs a store: tests/objects",
    "--deadline 07:00": "depends on the time of day: tests/scheduling/test_timekeeper.py",
    "--finish-by 07:00": "the same",
    "configs/fal.toml": "another dialect: tests/dialects/test_batches.py",
    "wavespeed.toml": "needs the file that the README shows: tests/provider/test_description.py",
    "_ENGINE_COMPLETE": "for the start-up file of a shell: tests/console/test_completion.py",
    "--on-finish": "runs programs of the desktop: tests/console/test_hooks.py",
}
"""Examples that run somewhere else, by what they are known by."""


def examples() -> list[str]:
    """Return each example line of the README that runs the engine, its continuation lines joined, its comment gone."""
    fences = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    lines = "".join(fences).replace("\\\n", " ").splitlines()
    bare = [re.sub(r"\s+#\s.*$", "", line) for line in lines]
    return [line for line in bare if re.match(r"(?:\w+=\S+ )?engine |cat \S+ \| engine ", line)]


def here(line: str) -> bool:
    return not any(mark in line for mark in ELSEWHERE)


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with provider_with(*QUICK) as provider:
        yield provider


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Path:
    """A directory as the README's reader has it in the morning."""
    place = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "configs", place / "configs", ignore=shutil.ignore_patterns("*.run"))
    write_jobs(place / "jobs.jsonl", 20)
    header = "id,photo,take,name\n"
    (place / "people.csv").write_text(header + "p-1,https://example.com/a.png,https://example.com/a.wav,Ann\n")
    for source, run in (("jobs.jsonl", "jobs.run"), ("jobs.jsonl", "people.run")):
        done = engine("run", source, "--run-dir", run, "-q", *provider.options(), cwd=place)
        assert done.code == 0, done.err
    return place


def test_every_example_is_tried_here_or_named_as_tried_elsewhere() -> None:
    assert len([line for line in examples() if here(line)]) > 25
    assert all(any(mark in line for line in examples()) for mark in ELSEWHERE), "a reason for an example that is gone"
    assert all((ROOT / path).exists() for why in ELSEWHERE.values() for path in re.findall(r"tests/[\w/.]+", why))


@pytest.mark.parametrize("line", [line for line in examples() if here(line) and "control" not in line])
def test_an_example_runs(line: str, place: Path, provider: Provider) -> None:
    command = re.search(r"engine (\w+)", line)
    assert command is not None
    words = shlex.join(provider.options()) if command[1] in NEEDS_PROVIDER else ""
    itself = shlex.join(ENGINE)
    # Behind the command's own words, which may be followed by a pipe.
    shown = re.sub(r"engine (\w+[^|]*)", lambda found: f"{itself} {found[1].rstrip()} {words} ", line, count=1)
    # Or the example would write over the lines that the others run.
    shown = shown.replace("-o jobs.jsonl", "-o converted.jsonl")
    if "jq " in shown:
        shown = shown.partition(" | jq")[0]
    if "people.csv" in shown and "convert" not in shown:
        pytest.skip("its columns are those of a table that the example does not show")
    done = subprocess.run(
        shown,
        shell=True,
        cwd=place,
        env=environment(SEGMIND_API_KEY=SIMULATOR_KEY),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode in expected(line), done.stderr


def expected(line: str) -> set[int]:
    """Return how an example may end."""
    if "--max-jobs" in line or "cost_usd_max=50" in line:
        return {0, 3}  # the run in that directory may be finished already
    if "--id clip-017" in line or "--error" in line or "retry" in line:
        return {0, 1, 2}  # nothing failed in this night
    if "--job clip-001" in line:
        return {2}  # the README's clips have three digits, this night's have five
    return {0}


def test_the_orders_to_a_run_at_work_are_taken(tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", 1_000)
    orders = [line for line in examples() if "engine control" in line and "--cancel" not in line and "fal" not in line]
    assert len(orders) == 4
    with provider_with(*SLOW) as provider:
        words = provider.options("limits.max_in_flight=5", "limits.submits_per_minute=600")
        with started("run", "jobs.jsonl", "--run-dir", "jobs.run", *words, cwd=tmp_path) as process:
            log = tmp_path / "jobs.run" / "run.log"
            wait_in_thread_until(
                lambda: log.is_file() and '"submitted"' in log.read_text(), description="the run is at work"
            )
            for line in orders:
                done = engine(*shlex.split(line)[1:], cwd=tmp_path)
                assert done.code == 0, (line, done.err)
            assert ended(process).code == 3
