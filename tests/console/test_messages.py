"""Words for people: nothing from outside steers the terminal, and a lost terminal harms nobody."""

from __future__ import annotations

import io

import pytest

from engine.console.messages import harmless, say, say_error, say_hint, warn
from engine.errors import UsageError


class _Gone(io.StringIO):
    def write(self, _text: str) -> int:
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize(
    ("outside", "shown"),
    [
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("\x9b31m", r"\x9b31m"),
        ("a\r\nb", r"a\x0d\x0ab"),
        ("\u202eevil", r"\u202eevil"),
        ("\u2066x\u2069", r"\u2066x\u2069"),
        ("\U000e0041", r"\U000e0041"),
        ("\ud800", r"\ud800"),
        ("\u2028", r"\u2028"),
    ],
)
def test_what_could_steer_a_terminal_is_shown_as_its_escape(outside: str, shown: str) -> None:
    assert harmless(outside) == shown


@pytest.mark.parametrize("text", ["plain words", "Grüße, 日本語, 🎬", "=1+1", "a b"])
def test_words_stay_as_they_are(text: str) -> None:
    assert harmless(text) == text


def test_an_error_is_followed_by_a_blank_line_and_its_hint(capsys: pytest.CaptureFixture[str]) -> None:
    say_error(UsageError("no such file", hint="name another"))
    assert capsys.readouterr().err == "error: no such file\n\nhint: name another\n"


def test_an_error_without_a_hint_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    say_error(UsageError("no such file"))
    assert capsys.readouterr().err == "error: no such file\n"


def test_several_hints_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    say_hint("do this", "", "then that")
    assert capsys.readouterr().err == "\nhint: do this\n      then that\n"


def test_hints_that_are_empty_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    say_hint("", "")
    assert capsys.readouterr().err == ""


def test_a_warning_cannot_break_out_of_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    warn("id 'a\nerror: forged'")
    assert capsys.readouterr().err == "warning: id 'a\\x0aerror: forged'\n"


def test_nothing_is_said_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    say("words")
    warn("words")
    assert capsys.readouterr().out == ""


def test_a_terminal_that_went_away_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", _Gone())
    say("words")


def test_a_closed_stderr_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    say("words")
