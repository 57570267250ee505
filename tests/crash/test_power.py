"""A few power cuts in every test run that may mount; more by hand: ``python -m tests.crash power``."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from engine.disk.durable import append, sync_directory
from tests.crash.file_systems import NotPossibleError, PowerDisk
from tests.crash.power import POWER_PLAN, cut_and_finish

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.processes, pytest.mark.sockets]


@contextmanager
def _where_possible() -> Iterator[None]:
    try:
        yield
    except NotPossibleError as error:
        pytest.skip(str(error))


def test_a_cut_loses_what_was_not_synced_and_keeps_what_was(tmp_path: Path) -> None:
    with _where_possible(), PowerDisk(tmp_path) as disk:
        lost, kept = disk.place / "lost", disk.place / "kept"
        with kept.open("wb", buffering=0) as file:
            append(file.fileno(), b"synced", name="a", hint="")
        sync_directory(disk.place)
        with kept.open("ab", buffering=0) as file:
            file.write(b", and not")
        lost.write_bytes(b"not synced")
        disk.cut()
        disk.power_on()
        assert kept.read_bytes() == b"synced"
        assert not lost.exists()


def test_a_run_whose_power_is_cut_keeps_every_promise(tmp_path: Path, seed: int) -> None:
    with _where_possible():
        verdict = cut_and_finish(tmp_path, POWER_PLAN, cuts=2, seed=seed)
    assert verdict.is_clean, verdict
    assert verdict.cuts
    assert verdict.statuses == {"succeeded": POWER_PLAN.jobs - verdict.unknown}
