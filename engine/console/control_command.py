"""``engine control``: steer a run from another terminal, and see that it is done."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from engine.disk.run_dir import RunDir
    from engine.run.control_journal import Order

ANSWER_S_MAX = 5.0
LOOK_S = 0.1


@click.command(short_help="Steer a run while it works.")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--pause", is_flag=True, help="Submit nothing new; what is in flight is harvested.")
@click.option("--resume", is_flag=True, help="Take the pause back.")
@click.option("--drain", is_flag=True, help="Submit nothing new, and end the run once everything in flight is home.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a limit or the budget; may be repeated."
)
@click.option(
    "--cancel", "cancelled_ids", multiple=True, metavar="ID", help="Cancel the job with this id; may be repeated."
)
@click.option(
    "--cancel-all", is_flag=True, help="Cancel everything in flight and submit nothing new; what waits stays."
)
@click.option("--reset", is_flag=True, help="Take back what was set and paused, and what is not yet carried out.")
def control(
    run_dir: Path,
    *,
    pause: bool,
    resume: bool,
    drain: bool,
    overrides: tuple[str, ...],
    cancelled_ids: tuple[str, ...],
    cancel_all: bool,
    reset: bool,
) -> int:
    """Steer the run in RUN_DIR. What is asked is kept in its control.jsonl and holds across restarts.

    \b
    engine control jobs.run --pause
    engine control jobs.run --resume
    engine control jobs.run --set limits.max_in_flight=50 --set budget.cost_usd_max=2000
    engine control jobs.run --drain
    engine control jobs.run --cancel clip-7 --cancel clip-9
    """
    from engine.console.messages import say, say_hint
    from engine.disk.run_dir import RunDir, lock_holder
    from engine.ledger.schema import read_facts
    from engine.run.control_journal import ControlJournal
    from engine.run.controls import ENDS_ALL_THE_SAME, order_words

    directory = RunDir(run_dir)
    directory.must_exist()
    if pause and resume:
        raise UsageError("--pause and --resume contradict each other", hint="give one of them")
    asked = {"reset": reset, "pause": pause, "resume": resume, "drain": drain, "cancel_all": cancel_all}
    orders = _orders(directory, [name for name, is_asked in asked.items() if is_asked], overrides, cancelled_ids)
    if not orders:
        return ExitCode.SUCCEEDED
    holder = lock_holder(directory)
    if drain and holder is None:
        raise UsageError(
            "nobody works on this run: there is nothing to drain",
            hint=f"what it came to: engine status {shlex.quote(str(run_dir))}",
        )
    end = ControlJournal(directory.control).give(orders)
    for order in orders:
        say(order_words(order))
    if holder is None:
        say_hint("nobody works on this run now; it holds from the next start on")
    elif not _is_taken(directory, end):
        say_hint(f"{holder} has not answered yet; see 'engine status' of the run")
        return ExitCode.STOPPED
    elif reset and read_facts(directory.ledger).get("control_ends"):
        say(ENDS_ALL_THE_SAME)
    return ExitCode.SUCCEEDED


def _orders(
    directory: RunDir, actions: list[str], overrides: tuple[str, ...], cancelled_ids: tuple[str, ...]
) -> list[Order]:
    """Return what is asked as orders, each checked as the run would check it."""
    import msgspec

    from engine.clock import SystemClock
    from engine.config import RunConfig
    from engine.console.messages import say
    from engine.console.run_command import config_of_run
    from engine.provider_configs import PREFIX, configs_by_provider, provider_and_key
    from engine.run.control_journal import Order
    from engine.run.controls import LIMITS, check_changeable

    if not (actions or overrides or cancelled_ids):
        raise UsageError(
            "nothing is asked of the run",
            hint="add --pause, --resume, --drain, --cancel ID, --cancel-all, --reset or --set KEY=VALUE",
        )
    utc = SystemClock().utc()
    orders = [msgspec.convert({"utc": utc, "action": action}, Order) for action in actions]
    for text in overrides:
        key = text.partition("=")[0].strip()
        RunConfig.load(None, [text])  # says what is wrong with it, with the nearest match for a mistyped key
        check_changeable(key, configs_by_provider(config_of_run(directory.root)))
        name, own = provider_and_key(key)
        configs = configs_by_provider(config_of_run(directory.root, overrides=(text,)))
        orders.append(Order(utc=utc, action="set", key=key, value=configs[name].value_of(own)))
        if key in LIMITS and (others := sorted(configs.keys() - {name})):
            say(f"{key} is that of the first provider alone; of another: --set {PREFIX}{others[0]}.{key}=VALUE")
    return orders + [Order(utc=utc, action="cancel", id=id_) for id_ in _not_at_rest(directory, cancelled_ids)]


def _not_at_rest(directory: RunDir, ids: tuple[str, ...]) -> list[str]:
    """Return the ids that can be cancelled; say of the others that they are at rest.

    Raises:
        UsageError: no job has one of the ids; then nothing is asked of the run, for none of them.
    """
    from engine.console.messages import say
    from engine.console.named_jobs import places_of

    if not ids:
        return []
    places = places_of(directory, ids, looked_up_by="--jobs in_flight, or --jobs remaining")
    for place in places:
        if place.at_rest:
            say(f"{place.id} is at rest already ({place.status}): there is nothing to cancel")
    return [place.id for place in places if not place.at_rest]


def _is_taken(directory: RunDir, end: int) -> bool:
    """Wait until the process at work has noted that it took everything up to ``end``; false if it does not."""
    import threading

    from engine.ledger.schema import read_facts

    pause = threading.Event()
    for _ in range(round(ANSWER_S_MAX / LOOK_S)):
        if int(read_facts(directory.ledger).get("control_bytes") or 0) >= end:
            return True
        pause.wait(LOOK_S)
    return False
