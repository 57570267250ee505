"""``engine dashboard``: the report's page, live, for a run that works now or does not."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="The report's page, live, with buttons.")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=0, help="Port on the loopback address; 0 takes a free one."
)
def dashboard(run_dir: Path, *, port: int) -> None:
    """Serve the report's page of the run in RUN_DIR, kept up to date, until Ctrl-C.

    Prints its address, which holds a token: whoever has it can look at the run and pause, resume or drain it.

    \b
    engine dashboard jobs.run
    """
    import asyncio

    from engine.clock import SystemClock
    from engine.console.dashboard import Dashboard
    from engine.disk.run_dir import RunDir

    directory = RunDir(run_dir)
    directory.must_exist()

    async def serve() -> None:
        async with Dashboard(directory, port=port, clock=SystemClock()) as opened:
            click.echo(opened.url)
            await asyncio.Event().wait()

    asyncio.run(serve())
