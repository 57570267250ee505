"""The types that a program sees: held by mypy when it checks the tests; what it needs for that is in the package."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, assert_type

import engine
from engine import EngineError, Job, ResultLine, Run, RunConfig
from engine.errors import ExitCode
from engine.job.records import JobError, StoredFile


async def program(run_dir: Path) -> None:
    """Use the public API as a program does; never run, always checked."""
    config = assert_type(RunConfig.load(Path("night.toml"), ["limits.max_in_flight=5"]), RunConfig)
    jobs = [Job({"prompt": "x"}, id="a", model="m", metadata={"row": 1}), Job({"prompt": "y"})]
    try:
        async with Run.open(run_dir, config) as run:
            results = assert_type(run.process(jobs), AsyncGenerator[ResultLine, None])
            async for result in results:
                assert_type(result.id, str | None)
                assert_type(result.files, tuple[StoredFile, ...])
                assert_type(result.error, JobError | None)
                assert_type(result.cost_usd, float | None)
            run.stop()
            assert_type(run.exit_code, ExitCode)
            assert_type(run.summary, dict[str, Any])
    except EngineError as error:
        assert_type(error.hint, str)


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(engine.__file__).parent / "py.typed").is_file()
    assert set(engine.__all__) == {"EngineError", "Job", "ResultLine", "Run", "RunConfig"}
