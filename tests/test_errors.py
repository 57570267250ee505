"""Errors are sentences with an exit code."""

from __future__ import annotations

import re
from typing import Any

import pytest

from engine import errors
from engine.errors import EngineError, ExitCode, LedgerError, StorageError, UsageError, first_of, nearest

EXIT_CODES = {
    "EngineError": 3,
    "UsageError": 2,
    "ConfigError": 2,
    "StorageError": 4,
    "LedgerError": 4,
    "OutputError": 4,
    "AccountError": 5,
    "RunDirectoryBusyError": 75,
}


def kinds() -> dict[str, type[EngineError]]:
    return {
        name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, EngineError)
    }


def test_every_error_has_the_exit_code_that_programs_rely_on() -> None:
    assert {name: int(kind.exit_code) for name, kind in kinds().items()} == EXIT_CODES


def test_the_tree_at_the_top_of_the_file_is_the_tree_of_the_classes() -> None:
    drawn = re.findall(r"^[\s│├└─]*(\w+Error)\b", (errors.__doc__ or "").split("::")[1], re.MULTILINE)
    assert set(drawn) == set(kinds())


@pytest.mark.parametrize("code", ExitCode)
def test_an_exit_code_fits_into_a_byte(code: ExitCode) -> None:
    assert 0 <= code <= 255


def test_an_error_is_its_sentence_and_carries_a_hint() -> None:
    error = UsageError("the input is a directory", hint="name a file")
    assert (str(error), error.hint, EngineError("x").hint) == ("the input is a directory", "name a file", "")


def test_the_nearest_word_is_offered_only_if_it_is_near() -> None:
    assert (
        nearest("submit_per_minute", ["submits_per_minute", "max_in_flight"]) == ", did you mean 'submits_per_minute'?"
    )
    assert nearest("xyz", ["submits_per_minute"]) == nearest("x", []) == ""


def test_one_error_of_a_nested_group_is_found() -> None:
    inner = LedgerError("damaged")
    group: Any = ExceptionGroup("tasks", [ExceptionGroup("more tasks", [inner]), StorageError("full")])
    assert first_of(group) is inner
