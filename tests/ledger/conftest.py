"""A ledger in a directory of its own, without a thread and without waiting for the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.jobs import open_inline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from engine.ledger.ledger import Ledger


@pytest.fixture
def db_path(tmp_path: Path) -> Path:
    return tmp_path / "run.db"


@pytest.fixture
async def ledger(db_path: Path) -> AsyncIterator[Ledger]:
    opened = open_inline(db_path)
    yield opened
    opened.close()
