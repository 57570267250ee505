"""How the engine speaks to a person: on stderr, what happened first, then a blank line and ``hint:``.

Nothing that came from outside (ids, prompts, a server's texts) reaches the terminal with its control
characters: escapes, line breaks and marks that reverse the direction of text are shown as what they are.
"""

from __future__ import annotations

import sys
import unicodedata
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from engine.errors import EngineError

HINT = "hint: "
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def harmless(text: str) -> str:
    """Return ``text`` with every character that could steer a terminal written as its escape."""
    if text.isprintable():  # true of no text with one of these in it, and said a hundred times as quickly
        return text
    return "".join(
        character if unicodedata.category(character) not in _INVISIBLE else _escaped(character) for character in text
    )


def say(text: str = "") -> None:
    """Print a line for people; a terminal that went away is no reason to fail."""
    try:
        # Named, because click would write past the live panel, which then erases the line.
        click.echo(text, file=sys.stderr, err=True)
    except OSError:
        return


def say_error(error: EngineError) -> None:
    """Print what went wrong and what to do about it."""
    say(click.style("error: ", fg="red", bold=True) + harmless(str(error)))
    say_hint(error.hint)


def say_hint(*hints: str) -> None:
    """Print a blank line and the hints that are not empty, one below the other."""
    lines = [harmless(hint) for hint in hints if hint]
    if lines:
        say()
        say(click.style(HINT, fg="cyan") + ("\n" + " " * len(HINT)).join(lines))


def warn(text: str) -> None:
    """Print a warning."""
    say(click.style("warning: ", fg="yellow", bold=True) + harmless(text))


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004
