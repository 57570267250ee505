"""What is installed is what is here: the wheel has every file that the engine needs at run time, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import engine

REPOSITORY = Path(__file__).parents[2]
NOT_CODE = ("*.toml", "*.html", "*.css", "*.js", "*.mp4", "*.png", "*.wav", "*.md", "py.typed")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, timeout=60)
    (built,) = directory.glob("*.whl")
    return built


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    root = REPOSITORY / "engine"
    files = {path for pattern in ("*.py", *NOT_CODE) for path in root.rglob(pattern)}
    expected = {str(path.relative_to(REPOSITORY)) for path in files}
    assert expected <= names(wheel)
    assert "engine/py.typed" in expected


def test_the_wheel_has_nothing_but_the_package(wheel: Path) -> None:
    assert {name.partition("/")[0] for name in names(wheel)} == {
        "engine",
        f"media_batch_engine-{engine.__version__}.dist-info",
    }


def test_what_is_in_the_wheel_runs_by_itself(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    (tmp_path / "jobs.jsonl").write_text('{"model": "seedream-4.5", "params": {"prompt": "a cat"}}\n')
    quick = ("provider.preset=simulator", "simulator.work.duration_median_s=0.1", "storage.reserve_bytes=0")
    words = [word for setting in quick for word in ("--set", setting)]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed"), "XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "engine", "run", "jobs.jsonl", "--quiet", *words],
        cwd=tmp_path,
        env=environment,
        check=False,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert list((tmp_path / "jobs.run" / "media").glob("*.png"))
