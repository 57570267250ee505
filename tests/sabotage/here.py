"""A plugin for the pytest of a copy: the engine that is tested there is the copy's, not the one that is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

import engine


def pytest_configure(config: pytest.Config) -> None:
    """End at once, with an exit code that is no test's failure, if another engine would be tested."""
    found = Path(engine.__file__).resolve()
    if not found.is_relative_to(config.rootpath.resolve()):
        raise pytest.UsageError(f"the engine comes from {found}, not from {config.rootpath}")
