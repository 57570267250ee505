"""What a plan says of the local files of a batch, whatever becomes of them while it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.input_files.forecast import FileForecast, Forecaster
from engine.job.flight import Flight
from engine.job.model import Model, Parameter
from engine.job.records import encode_json
from tests.media.conftest import small_media

if TYPE_CHECKING:
    from pathlib import Path

MODEL = Model("avatar", {"image_url": Parameter("image_url", "uri", accepts=("image",))})
CATALOGUE = {"avatar": MODEL, "near:avatar": MODEL}
PICTURE = small_media()["image/png"]


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        path.write_bytes(PICTURE)
    return paths


def of(*flights: Flight) -> Forecaster:
    """Add up the files of jobs at a provider that has files uploaded and one, ``near``, that takes them inside."""
    forecaster = Forecaster(CATALOGUE, inline={"": False, "near": True})
    forecaster.add(flights)
    return forecaster


def flight(path: Path, model: str = "avatar") -> Flight:
    return Flight(0, "a", model, 0, encode_json({"image_url": path.as_uri()}))


def counted(found: FileForecast) -> tuple[int, int, int, bool]:
    return found.files, found.bytes // len(PICTURE), found.inline_files, found.inline


def test_a_file_that_vanishes_meanwhile_is_told_once_and_not_counted(pictures: list[Path]) -> None:
    gone, empty, there = pictures
    gone.unlink()
    empty.write_bytes(b"")
    made = of(flight(gone), flight(gone), flight(empty), flight(there))
    assert made.changed == (
        f"the file {gone} was changed while the plan was made: it does not exist",
        f"the file {empty} was changed while the plan was made: it is empty",
    )
    assert counted(made.forecast()) == (1, 1, 0, False)


def test_files_sent_inside_jobs_are_told_from_those_that_are_uploaded(pictures: list[Path]) -> None:
    one, other, both = pictures
    mixed = [flight(one), flight(other, "near:avatar"), flight(both), flight(both, "near:avatar")]
    assert counted(of(*mixed).forecast()) == (3, 3, 1, False)
    assert counted(of(*reversed(mixed)).forecast()) == (3, 3, 1, False)
    assert counted(of(flight(other, "near:avatar")).forecast()) == (1, 1, 1, True)


def test_a_batch_without_files_sends_nothing_anywhere() -> None:
    assert of().forecast() == FileForecast()
