"""The command ``engine``: its commands, and the one place where an error becomes a message and an exit code.

Commands import what they need when they run, so that ``--help`` is immediate.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from typing import NoReturn

import click

from engine import __version__
from engine.console.control_command import control
from engine.console.convert_command import convert
from engine.console.dashboard_command import dashboard
from engine.console.doctor_command import doctor
from engine.console.export_command import export
from engine.console.messages import say, say_error, say_hint
from engine.console.plan_command import plan
from engine.console.providers_command import providers
from engine.console.report_command import report
from engine.console.run_command import resume, retry, run
from engine.console.simulate_command import simulate
from engine.console.status_command import status
from engine.console.verify_command import verify
from engine.errors import EngineError, ExitCode, StorageError, nearest
from engine.refusals import refusal_hint


class _Commands(click.Group):
    """A group that keeps the order of its commands and suggests the nearest one for a mistyped name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in self.commands:
            raise click.UsageError(f"there is no command {name!r}{nearest(name, self.commands)}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", "-V", message="engine %(version)s")
def engine() -> None:
    """Run batches of paid media generations: never pay twice, never lose what was paid for.

    \b
    engine run jobs.jsonl              run a batch, or go on with it
    engine status jobs.run             how it goes, from another terminal
    engine run - --run-dir r -o -      a filter: job lines in, result lines out
    """


_WORK = (run, resume, plan, convert, doctor, status, control, retry)
_LOOK = (verify, report, export, dashboard, providers, simulate)
for _command in (*_WORK, *_LOOK):
    engine.add_command(_command)


def main() -> None:
    """Run the command line; the process ends with one of ``ExitCode``."""
    _occupy_standard_descriptors()
    _leave_no_core()
    try:
        code = engine.main(prog_name="engine", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.format_message())
        code = ExitCode.USAGE
    except click.UsageError as error:
        say(click.style("error: ", fg="red", bold=True) + error.format_message())
        if error.ctx is not None:
            say_hint(f"{error.ctx.command_path} --help")
        code = ExitCode.USAGE
    except click.Abort:
        say("stopped by SIGINT")
        code = ExitCode.INTERRUPTED
    except EngineError as error:
        say_error(error)
        code = error.exit_code
    except BrokenPipeError:
        code = ExitCode.STOPPED
    except OSError as error:
        # A refusal that nobody foresaw is the disk's or stdout's, and no traceback helps the person to end it.
        say_error(StorageError(_os_words(error), hint=f"{refusal_hint(error)}, then run the same command again"))
        code = ExitCode.STORAGE
    _flush_or_forget()
    _end(int(code or 0))


def _end(code: int) -> NoReturn:
    """End the process.

    The threads of the library for object stores may be about to let go of an object of ours: before Python 3.14 that
    aborts a process whose interpreter is winding up, and the exit code is lost. Nothing is left to be done by then.
    """
    if "obstore" in sys.modules:
        os._exit(code)
    sys.exit(code)


def _occupy_standard_descriptors() -> None:
    """Put something in the place of a standard stream that is closed, on which reads or writes fail as before.

    Else the next file that is opened takes its number, and result lines or messages would go into the ledger.
    """
    for fd, unusable in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, unusable)  # takes the lowest free number, which is this one


def _leave_no_core() -> None:
    """Forbid core dumps: a core holds the key."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _flush_or_forget() -> None:
    """Flush what is still owed to the standard streams; else Python would try at exit, and change the exit code."""
    for fd, stream in enumerate((sys.stdout, sys.stderr), start=1):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, fd)
            os.close(nothing)


def _os_words(error: OSError) -> str:
    where = error.filename if error.filename is not None else "stdout"
    return f"the system refused to work on {where} ({error.strerror or error})"
