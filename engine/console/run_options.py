"""The options of the commands that work on a run, in groups, as the help shows them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.console.moments import Span, TimeOfDay

if TYPE_CHECKING:
    from collections.abc import Callable

    Option = Callable[[Any], Any]


class _Port(click.IntRange):
    """A port after ``--dashboard``, which may also stand alone."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the port; whatever else follows the option was probably not meant for it."""
        if isinstance(value, str) and not value.isdecimal():
            self.fail(f"{value!r} is no port; put --dashboard last, or write --dashboard=PORT", param, ctx)
        return int(super().convert(value, param, ctx))


class RunCommand(click.Command):
    """A command whose help shows its options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section a group, in the order in which they were given."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                sections.setdefault(_GROUPS.get(param.name or "", "Options"), []).append(record)
        for title in ("Options", *GROUPS):
            if title in sections:
                with formatter.section(title):
                    formatter.write_dl(sections[title])


CONFIGURATION = (
    click.option("-c", "--config", "config_path", type=click.Path(path_type=Path), help="Configuration file (TOML)."),
    click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One key of the configuration; may be repeated."
    ),
)
RESULTS = (
    click.option(
        "-o",
        "--output",
        metavar="FILE|-",
        type=click.Path(allow_dash=True),  # so that a shell completes it
        help="Result lines go here instead of RUN_DIR/results.jsonl; - also prints them.",
    ),
    click.option("--ordered", is_flag=True, help="Keep result lines in the order of the input."),
    click.option("--rebuild-output", is_flag=True, help="Write the output anew from the ledger first."),
)
MONEY = (
    click.option("--max-jobs", "jobs_max", type=click.IntRange(min=1), help="Submit at most so many jobs, then stop."),
    click.option(
        "--cancel-on-stop", is_flag=True, help="On a second Ctrl-C, first cancel what is in flight at the provider."
    ),
    click.option("--wait-for-credit", is_flag=True, help="Wait for money even when nothing is in flight."),
)
TIME = (
    click.option(
        "--deadline", "deadline_utc", type=TimeOfDay(), help="Submit only what will be home by then, such as 07:00."
    ),
    click.option("--max-time", "span_s", type=Span(), help="The same, counted from now: 8h, 90m, 1h30m."),
    click.option(
        "--finish-by",
        "finish_by_utc",
        type=TimeOfDay(),
        help="Keep only as many in flight as it takes to be done by then, and say so if it cannot be met.",
    ),
)
MACHINES = (
    click.option(
        "--fleet", metavar="WHERE", help="Download on a Ray cluster too: auto, local:N, ray://HOST:PORT or HOST:PORT."
    ),
)
DISPLAY = (
    click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors and the last line."),
    click.option(
        "--dashboard",
        "dashboard_port",
        type=_Port(0, 65_535),
        is_flag=False,
        flag_value=0,
        metavar="[PORT]",
        help="Serve the report's page live on the loopback address while the run works.",
    ),
    click.option("--no-progress", is_flag=True, help="No live panel and no progress lines."),
    click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="info",
        show_default=True,
        help="The least level written to RUN_DIR/run.log.",
    ),
)


HOOKS = (
    click.option("--on-finish", metavar="CMD", help="A shell command to run once every job is at rest."),
    click.option("--on-stop", metavar="CMD", help="A shell command to run when the run ends in any other way."),
)

GROUPS: dict[str, tuple[Option, ...]] = {
    "Configuration": CONFIGURATION,
    "Results": RESULTS,
    "Money": MONEY,
    "Time": TIME,
    "Machines": MACHINES,
    "What is seen": DISPLAY,
    "Afterwards": HOOKS,
}
_GROUPS: dict[str, str] = {}


def run_options(command: Any) -> Any:
    """Give a command every option of every group."""
    for title, options in reversed(GROUPS.items()):
        for option in reversed(options):
            command = option(command)
            _GROUPS[command.__click_params__[-1].name] = title
    return command
