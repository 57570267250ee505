"""ARCHITECTURE.md maps what is there: every file, every transition, and no enforcement that does not exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from engine.job.states import BIRTH, IN_FLIGHT, TRANSITIONS, State

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "engine" / "ARCHITECTURE.md").read_text()
CODEMAP = TEXT.partition("\n## Codemap\n")[2].partition("\n## ")[0]
LIFE = TEXT.partition("\n## The life of a job\n")[2].partition("\n## ")[0]

MAPPED = re.findall(r"^\| `(engine/[^`]+)` \|", CODEMAP, re.MULTILINE)
NAMED_PATHS = sorted(
    {
        path
        for name in ("engine/ARCHITECTURE.md", "engine/FORMATS.md", "CHANGELOG.md")
        for path in re.findall(r"`((?:engine|tests|configs)/[\w./-]*)(?:::\w+)?`", (ROOT / name).read_text())
    }
)
NAMED_TESTS = sorted(set(re.findall(r"`(tests/[\w./]+\.py)::(\w+)`", TEXT)))


def states_in(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", text))


def defined_in(path: Path) -> set[str]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, functions)}


def test_the_codemap_has_every_file_and_no_other() -> None:
    real = {str(path.relative_to(ROOT)) for path in (ROOT / "engine").rglob("*.py")}
    assert {"missing": sorted(real - set(MAPPED)), "gone": sorted(set(MAPPED) - real)} == {"missing": [], "gone": []}
    assert len(MAPPED) == len(set(MAPPED))


def test_every_file_of_the_codemap_has_a_role() -> None:
    roles = re.findall(r"^\| `engine/[^`]+` \| (.+) \|$", CODEMAP, re.MULTILINE)
    assert len(roles) == len(MAPPED)


@pytest.mark.parametrize("path", NAMED_PATHS)
def test_a_path_that_a_document_names_exists(path: str) -> None:
    assert "NAME" in path or (ROOT / path).exists()


@pytest.mark.parametrize(("path", "test"), NAMED_TESTS)
def test_a_test_that_is_said_to_enforce_something_exists(path: str, test: str) -> None:
    assert test in defined_in(ROOT / path)


def test_every_transition_is_in_the_table_and_no_other() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| [^|]+ \|$", LIFE, re.MULTILINE)
    assert {state: states_in(targets) for state, targets in rows} == {
        str(state): {str(target) for target in targets} for state, targets in TRANSITIONS.items()
    }
    assert len(rows) == len(State)


def test_births_and_flights_are_named_as_in_the_code() -> None:
    sentences = " ".join(LIFE.split()).split(". ")
    births = next((sentence for sentence in sentences if sentence.startswith("A job line enters as")), "")
    flights = next((sentence for sentence in sentences if sentence.endswith("are in flight")), "")
    assert states_in(births) == {str(state) for state in BIRTH}
    assert states_in(flights.rpartition("|")[2]) == {str(state) for state in IN_FLIGHT}


def test_every_unique_index_that_enforces_something_is_one_of_the_schema() -> None:
    schema = (ROOT / "engine" / "ledger" / "schema.py").read_text()
    named = re.findall(r"unique index `(\w+)`", TEXT)
    assert named
    assert [index for index in named if f"CREATE UNIQUE INDEX {index} " not in schema] == []


def test_every_lint_rule_that_enforces_something_is_configured() -> None:
    configuration = (ROOT / "pyproject.toml").read_text()
    named = re.findall(r"`((?:os|time)\.\w+)`", TEXT)
    assert named
    assert [name for name in named if f'"{name}".msg' not in configuration] == []
