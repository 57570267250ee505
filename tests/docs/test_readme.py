"""The README names every command as the command line does, and only files that are there."""

from __future__ import annotations

import re
from pathlib import Path

from engine.console.cli import engine

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_every_command_stands_in_the_overview_with_its_own_words() -> None:
    listed = re.findall(r"^\| `engine (\w+)` \| (.+) \|$", README, re.MULTILINE)
    assert listed == [(name, command.short_help) for name, command in engine.commands.items()]


def test_every_file_that_is_named_is_there() -> None:
    named = set(re.findall(r"`?((?:tests|engine|configs)/[\w/.-]+\.(?:py|md|toml|jsonl))", README))
    assert {name for name in named if not (ROOT / name).is_file()} == set()


def test_every_flag_of_an_example_is_one_of_its_command() -> None:
    for name, rest in re.findall(r"^(?:.*\| )?engine +(\w+) ([^\n|#]*)", README, re.MULTILINE):
        command = engine.commands[name]
        known = {flag for param in command.params for flag in param.opts}
        used = set(re.findall(r"(?<= )--?[a-z][a-z-]*", f" {rest}"))
        assert used <= known, f"engine {name} {rest}"
