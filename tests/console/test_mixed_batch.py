"""A night as people have it: one spreadsheet, two models, two providers, files beside it; planned, killed, resumed."""

from __future__ import annotations

import csv
import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from tests.console.conftest import Provider, ended, engine, provider_with, results, started
from tests.media.conftest import small_media
from tests.waiting import wait_in_thread_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.sockets

ROWS = 40
AVATAR, OTHER = "kling-v1-pro-ai-avatar", "rep:owner/painter"
WORK = ("work.duration_median_s=0.6", "rate.requests_per_window=0")


@pytest.fixture
def first() -> Iterator[Provider]:
    with provider_with(*WORK) as simulator:
        yield simulator


@pytest.fixture
def second() -> Iterator[Provider]:
    with provider_with(*WORK, "dialect=replicate", "access.models=['*']") as simulator:
        yield simulator


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    """Return a spreadsheet whose rows alternate between two models of two providers; its files lie beside it."""
    media = small_media()
    (tmp_path / "face.png").write_bytes(media["image/png"])
    for number in range(4):
        (tmp_path / f"take-{number}.wav").write_bytes(media["audio/wav"] + bytes([number]) * 2)
    with (tmp_path / "people.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "model", "image_url", "audio_url", "prompt", "image"])
        for row in range(ROWS):
            avatar = [f"row-{row}", AVATAR, "./face.png", f"./take-{row // 2 % 4}.wav", f"Hello {row}", ""]
            other = [f"row-{row}", OTHER, "", "", f"Hello {row}", "file:face.png"]
            writer.writerow(other if row % 2 else avatar)
    return tmp_path / "people.csv"


def config_of(directory: Path, first: Provider, second: Provider) -> Path:
    (directory / "key").write_text("SG_0123456789abcdef")
    (directory / "key").chmod(0o600)
    path = directory / "night.toml"
    path.write_text(f"""
[provider]
preset = "simulator"
base_url = "{first.addresses["base_url"]}"
history_url = "{first.addresses["history_url"]}"
[limits]
submits_per_minute = 600
max_in_flight = 8
[polling]
expected_duration_s = 0.6
[recovery]
grace_s = 1.0
[storage]
reserve_bytes = 0
[providers.rep]
preset = "replicate"
base_url = "{second.addresses["base_url"]}"
api_key_file = "key"
[providers.rep.limits]
submits_per_minute = 600
max_in_flight = 4
[providers.rep.polling]
expected_duration_s = 0.6
[providers.rep.budget]
price_usd = 1.0
""")
    return path


def accepted(provider: Provider) -> int:
    return sum(body["accepted"] for body in provider.bill()["bodies"])


def test_a_mixed_batch_is_planned_run_killed_resumed_and_reported(
    sheet: Path, first: Provider, second: Provider
) -> None:
    directory, config = sheet.parent, config_of(sheet.parent, first, second)

    made = json.loads(engine("plan", sheet, "-c", config, "--json", cwd=directory).out)
    assert (made["jobs"], made["invalid"], made["uploads"]["files"]) == (ROWS, 0, 5)
    assert {model["model"]: model["jobs"] for model in made["models"]} == {AVATAR: ROWS // 2, OTHER: ROWS // 2}
    assert made["cost_usd"] == pytest.approx(ROWS / 2 * 4.475 + ROWS / 2 * 1.0)
    assert accepted(first) == accepted(second) == 0

    run_dir = directory / "people.run"
    for done in (6, 20):

        def killable(done: int = done) -> bool:
            return _lines(run_dir) >= done or process.poll() is not None

        with started("run", sheet, "-c", config, "--quiet", cwd=directory) as process:
            wait_in_thread_until(killable, description=f"{done} results are written", within_s=60)
            assert process.poll() is None, ended(process).err
            process.kill()
    finished = engine("run", sheet, "-c", config, "--quiet", cwd=directory)
    unknown = _unknown(run_dir)
    # Only the second provider has no history to settle a kill between a submission and its reply with.
    assert len(unknown) <= 2
    assert all(model == OTHER for model in unknown)
    assert finished.code == (3 if unknown else 0), finished.err

    assert first.bill()["paid"] == ROWS // 2
    assert ROWS // 2 - len(unknown) <= second.bill()["paid"] <= ROWS // 2  # an unknown one may never have arrived
    assert first.bill()["paid_more_than_once"] == second.bill()["paid_more_than_once"] == 0
    assert first.bill()["key_leaks"] == second.bill()["key_leaks"] == 0
    lines = results(run_dir)
    assert sorted(line["id"] for line in lines) == sorted({line["id"] for line in lines})
    assert len(lines) == ROWS - len(unknown)
    assert all(line["status"] == "succeeded" for line in lines)
    assert all((run_dir / line["files"][0]["path"]).is_file() for line in lines)
    # Five files: each was uploaded once, but for those whose upload a kill cut off before it was recorded.
    assert 5 <= first.bill()["uploads"] <= 7

    assert engine("verify", run_dir, cwd=directory).code == 0
    assert engine("report", run_dir, cwd=directory).code == 0
    page = (run_dir / "report.html").read_text()
    assert AVATAR in page
    assert OTHER in page
    table = engine("export", run_dir, cwd=directory).out
    assert len(list(csv.DictReader(table.splitlines()))) == len(lines)


def _lines(run_dir: Path) -> int:
    output = run_dir / "results.jsonl"
    return output.read_bytes().count(b"\n") if output.exists() else 0


def _unknown(run_dir: Path) -> list[Any]:
    with sqlite3.connect(run_dir / "run.db") as db:
        rows = db.execute("SELECT model FROM job JOIN input USING (job) WHERE state = 'unknown'").fetchall()
    db.close()
    return [model for (model,) in rows]
