"""What a shell offers after Tab: the commands, their options, the words of a choice, and files."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engine.console.cli import engine as command_line
from tests.console.conftest import PROCESS_S_MAX, environment

pytestmark = pytest.mark.processes


def complete(words: str) -> list[str]:
    """Return what is offered for the last of ``words``, as bash is told."""
    return asked("bash_complete", COMP_WORDS=words, COMP_CWORD=str(words.count(" "))).splitlines()


def asked(instruction: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "engine"],
        env=environment(_ENGINE_COMPLETE=instruction, **variables),
        capture_output=True,
        text=True,
        timeout=PROCESS_S_MAX,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


def test_every_command_is_offered() -> None:
    assert complete("engine ") == [f"plain,{name}" for name in command_line.commands]


def test_what_is_begun_is_completed() -> None:
    assert complete("engine do") == ["plain,doctor"]
    assert complete("engine run --on") == ["plain,--on-finish", "plain,--on-stop"]


@pytest.mark.parametrize("name", command_line.commands)
def test_every_long_option_is_offered(name: str) -> None:
    command = command_line.commands[name]
    long = {flag for option in command.params for flag in option.opts if flag.startswith("--")}
    assert {f"plain,{flag}" for flag in long | {"--help"}} == set(complete(f"engine {name} --"))


def test_the_words_of_a_choice_are_offered() -> None:
    assert complete("engine run jobs.jsonl --log-level ")[:2] == ["plain,debug", "plain,info"]


@pytest.mark.parametrize(
    "words", ["engine run jo", "engine run jobs.jsonl -o re", "engine resume jo", "engine doctor -c co"]
)
def test_files_are_left_to_the_shell(words: str) -> None:
    assert complete(words) == [f"file,{words.rsplit(maxsplit=1)[-1]}"]


@pytest.mark.parametrize(
    ("shell", "words"), [("bash", "complete -o nosort -F"), ("zsh", "#compdef engine"), ("fish", "complete --no-files")]
)
def test_each_shell_gets_its_script(shell: str, words: str) -> None:
    script = asked(f"{shell}_source")
    assert words in script
    assert f"_ENGINE_COMPLETE={shell}_complete" in script


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.skipif(not Path(sys.executable).with_name("engine").exists(), reason="needs the installed command")
def test_the_line_for_bash_works_in_bash() -> None:
    script = """
    eval "$(_ENGINE_COMPLETE=bash_source engine)"
    COMP_WORDS=(engine si); COMP_CWORD=1
    _engine_completion engine
    echo "${COMPREPLY[@]}"
    """
    paths = f"{Path(sys.executable).parent}:{environment()['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        env=environment() | {"PATH": paths},
        capture_output=True,
        text=True,
        timeout=PROCESS_S_MAX,
        check=False,
    )
    assert done.stdout == "simulate\n"
