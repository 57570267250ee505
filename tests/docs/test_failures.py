"""The page of failures is held to the tests: each row is shown by tests that exist, and none of ours is left out."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "engine" / "FAILURES.md").read_text()
SECTIONS = ("Submit", "Poll and result", "Download", "Input", "Machine", "Fleet")


def rows() -> list[list[str]]:
    """Return the cells of every row."""
    found = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
    return [cells for cells in found if cells[0] != "event"]


def named() -> set[str]:
    """Return every test that the page names."""
    return set(re.findall(r"`(tests/[\w/]+\.py::\w+)`", PAGE))


@cache
def functions_of(path: Path) -> frozenset[str]:
    """Return the names of the tests in a file."""
    tree = ast.parse(path.read_text())
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def test_every_section_has_its_rows() -> None:
    assert re.findall(r"^## (.+)$", PAGE, re.MULTILINE) == list(SECTIONS)
    assert len(rows()) >= 55


def test_every_row_is_shown_by_a_test() -> None:
    assert [cells[0] for cells in rows() if len(cells) != 3 or "::" not in cells[2]] == []


@pytest.mark.parametrize("test", sorted(named()))
def test_every_test_that_is_named_exists(test: str) -> None:
    path, _, name = test.partition("::")
    assert (ROOT / path).is_file()
    assert name in functions_of(ROOT / path)


def test_every_test_of_failures_is_named() -> None:
    own = {
        f"{path.relative_to(ROOT)}::{name}"
        for path in (ROOT / "tests" / "failures").glob("test_*.py")
        for name in functions_of(path)
    }
    assert own - named() == set()
