"""``engine providers``: the providers that are described, what a description says, and whether it works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from engine.console.messages import harmless
from engine.console.words import duration_words
from engine.job.counted import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.doctor.check import Check
    from engine.provider.contract import ResultTable
    from engine.provider.description import ProviderDescription


@click.group(short_help="The providers there are; checks a description.", invoke_without_command=True)
@click.pass_context
def providers(context: click.Context) -> None:
    """List the providers that can be named in provider.preset, or check a description of your own.

    \b
    engine providers
    engine providers check own.toml --live
    """
    if context.invoked_subcommand is None:
        click.echo("\n".join(_list()))


@providers.command(short_help="What a description says, and whether it works.")
@click.argument("description", metavar="NAME|FILE.toml")
@click.option("--live", is_flag=True, help="Also ask the provider one free question, with the key.")
def check(description: str, *, live: bool) -> int:
    """Validate a description, say what it means, and with --live ask the provider something that costs nothing.

    Ends with 0 if all is well, with 2 if the description is wrong, with 1 or 5 if the provider's answer or the key is.
    """
    from engine.doctor.check import Examination
    from engine.provider.description import load_description

    found = load_description(description)
    click.echo("\n".join(_explained(found)))
    if not live:
        return 0
    checks = _asked(description)
    click.echo("")
    for one in checks:
        click.echo(f"{one.level:<8} {one.check:<10} {harmless(one.message)}")
        if one.hint:
            click.echo(f"{'':<19} -> {harmless(one.hint)}")
    return int(Examination(checks=tuple(checks), history_shape=None).exit_code)


def _list() -> Iterator[str]:
    import os

    from engine.config import PRESETS
    from engine.provider.description import load_description

    for name in PRESETS:
        found = load_description(name)
        if name == "simulator":
            yield f"{name:<14}the local one, for rehearsals: nothing is paid, nothing leaves this machine"
            continue
        key = f"{found.api_key_env} {'is set' if os.environ.get(found.api_key_env) else 'is not set'}"
        models = counted(len(found.models), "known model") if found.models else "any model"
        settles = "lost replies are looked up" if found.history_url else "a lost reply stays unknown"
        yield f"{name:<14}{key}; {models}; {settles}"
    yield ""
    yield "more about one: engine providers check NAME; one of your own: a path that ends in .toml"


def _explained(found: ProviderDescription) -> Iterator[str]:
    submit, status, result = found.submit, found.status, found.result
    body = f'{{"{submit.wrap}": the params}}' if submit.wrap else "the params"
    more = f', with the model as "{submit.model_key}"' if submit.model_key else ""
    yield f"{'provider':<13}{found.name}"
    yield f"{'submits to':<13}POST {found.base_url}{submit.path}: {body}{more}; {_reply_words(found)}"
    if submit.is_synchronous:
        yield f"{'result':<13}that reply: the file itself, or JSON with files at {', '.join(result.outputs)}"
    else:
        asks = [f"the address in {status.url_from} of that reply"] if status.url_from else []
        asks += [f"GET {found.base_url}{status.path}"] if status.path else []
        held = f"; it may be held for {duration_words(status.wait_s)}" if status.wait_s else ""
        yield f"{'asks at':<13}{', or else '.join(asks)}{held}"
        fails = [*status.failed, *([f"anything in {status.failed_if}"] if status.failed_if else [])]
        yield f"{'words':<13}{status.word} is {' or '.join(status.done)} when done; {' or '.join(fails)} is failure"
        yield f"{'result':<13}{_result_words(result)}"
        cancel = found.cancel
        how = f"{cancel.method} to {cancel.url_from or cancel.path}" if cancel.is_offered else "is not offered"
        yield f"{'cancelling':<13}{how}"
    yield f"{'key':<13}{found.auth.header}: {found.auth.value}, from {found.api_key_env}"
    lives = (duration_words(found.record_life_s), duration_words(found.output_life_s))
    yield f"{'keeps':<13}records for {lives[0]}, files for {lives[1]}"
    yield f"{'lost replies':<13}" + (
        "are looked up in its history" if found.history_url else "stay unknown: no history"
    )
    yield f"{'models':<13}{', '.join(sorted(found.models)) or 'any; none is described'}"


def _reply_words(found: ProviderDescription) -> str:
    submit = found.submit
    if not submit.is_synchronous:
        return f"its id is {submit.id} of the reply"
    patience = f", for which up to {duration_words(submit.reply_s_max)} are waited" if submit.reply_s_max else ""
    return f"the reply is the result{patience}; its id is {submit.id or 'made by us'}"


def _result_words(result: ResultTable) -> str:
    if result.bytes:
        return f"the same reply; the file is at {result.url_from or result.path}, and the key is shown there"
    where = "the same reply" if result.is_in_status else f"a second request ({result.url_from or result.path})"
    return f"{where}; files at {', '.join(result.outputs)}"


def _asked(description: str) -> list[Check]:
    """Ask for the balance, or for a request that nobody made: one GET."""
    import asyncio

    from engine.config import RunConfig
    from engine.doctor.doctor import ask_account

    return asyncio.run(ask_account(RunConfig.load(None, [f"provider.preset={description}"])))
