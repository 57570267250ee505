"""The figures of a run for a monitor: Prometheus text at ``/metrics``, a sign of life at ``/healthz``.

Served by the very loop that does the work, so that an answer proves that it turns. Every figure is read from the
run at the moment of the scrape; nothing is counted here. Whoever connects can read and do nothing else, and cannot
take many of the process's files: a handful of connections is answered at a time.
"""

from __future__ import annotations

import asyncio
import os
import platform
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import orjson
from aiohttp import web
from prometheus_client import ProcessCollector
from prometheus_client.core import (
    CollectorRegistry,
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from engine import __version__
from engine.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from prometheus_client.metrics_core import Metric

    from engine.run.run import Run

CONNECTIONS_MAX = 16
CLOSE_S = 1.0
PLACES = ("submitting", "generating", "fetching", "downloading")
"""Where a job in flight can be, as the tally names it."""
STATES = ("pending", *PLACES, "succeeded", "failed", "invalid", "unknown", "held")


@asynccontextmanager
async def serving(run: Run, *, host: str, port: int) -> AsyncIterator[str]:
    """Serve the figures of an open run while the block lasts; yields the address of ``/metrics``.

    Raises:
        ConfigError: the port cannot be opened.
    """
    registry = CollectorRegistry()
    registry.register(RunCollector(run))
    ProcessCollector(registry=registry)
    server = web.Server(_Answers(run, registry).answer, access_log=None)
    listener = await _listen(server, host, port)
    try:
        address, number = listener.sockets[0].getsockname()[:2]
        yield f"http://{f'[{address}]' if ':' in address else address}:{number}/metrics"
    finally:
        listener.close()
        await server.shutdown(CLOSE_S)


async def _listen(server: web.Server, host: str, port: int) -> asyncio.Server:
    def protocol() -> asyncio.Protocol:
        return server() if len(server.connections) < CONNECTIONS_MAX else _Refusal()

    if not host:
        raise ConfigError(
            "metrics.host is empty, which would be every address of this machine",
            hint="127.0.0.1 is reached by this machine alone",
        )
    try:
        return await asyncio.get_running_loop().create_server(protocol, host, port, backlog=CONNECTIONS_MAX)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"metrics.port: {host}:{port} cannot be opened for the monitor ({_reason(error)})",
            hint="choose another with --set metrics.port=N (another run may be using this one); 0 takes a free one",
        ) from error


def _reason(error: OSError | UnicodeError) -> str:
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number is not None and number > 0 else "there is no such address"


class _Refusal(asyncio.Protocol):
    """What one connection too many gets: its end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class _Answers:
    """What the two addresses say."""

    def __init__(self, run: Run, registry: CollectorRegistry) -> None:
        self._run = run
        self._registry = registry

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer one request; none of them can fail for what it asks."""
        if request.method not in {"GET", "HEAD"}:
            return web.Response(status=405, headers={"Allow": "GET, HEAD"})
        match request.path:
            case "/metrics":
                encode, content_type = choose_encoder(request.headers.get("Accept", ""))
                return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})
            case "/healthz":
                return web.Response(body=health(self._run), content_type="application/json")
            case _:
                return web.Response(status=404, text="/metrics and /healthz are here\n")


def health(run: Run) -> bytes:
    """Return the sign of life of a run: why it winds down, if it does, and what it waits for."""
    stopping = None if run.stop is None else run.stop.kind
    return orjson.dumps(
        {
            "waits_for": run.view().waits_for or None,
            "fleet": run.fleet or None,
            "stopping": stopping,
            "lines": run.tally.lines,
            "at_rest": run.tally.decided,
            "in_flight": run.tally.in_flight,
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


class RunCollector(Collector):
    """Turns the tally of a run into metric families, at each scrape anew."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def collect(self) -> Iterator[Metric]:
        """Yield every family; FORMATS.md has the table."""
        yield InfoMetricFamily(
            "engine_build",
            "The program that does the work.",
            {"version": __version__, "python": platform.python_version()},
        )
        yield from self._jobs()
        yield from self._requests()
        yield from self._money()

    def _jobs(self) -> Iterator[Metric]:
        run, tally = self._run, self._run.tally
        jobs = GaugeMetricFamily("engine_jobs", "Job lines by where they are.", labels=["state"])
        for state in STATES:
            jobs.add_metric([state], getattr(tally, state))
        yield jobs
        yield GaugeMetricFamily("engine_job_lines", "Job lines read so far.", tally.lines)
        yield GaugeMetricFamily("engine_input_complete", "1 once the input is read to its end.", tally.input_complete)
        yield GaugeMetricFamily("engine_in_flight", "Jobs submitted and not yet at rest.", tally.in_flight)
        yield GaugeMetricFamily(
            "engine_queued", "Those of the generating that waited in the provider's queue.", tally.queued
        )
        yield GaugeMetricFamily("engine_result_lines", "Result lines in the output.", tally.written)
        yield GaugeMetricFamily("engine_stopping", "1 once the run winds down.", run.stop is not None)
        failures = CounterMetricFamily(
            "engine_failures", "Jobs that failed since the process began, by error kind.", labels=["kind"]
        )
        for kind, count in sorted(tally.causes.items()):
            failures.add_metric([kind], count)
        yield failures

    def _requests(self) -> Iterator[Metric]:
        run, tally = self._run, self._run.tally
        requests = CounterMetricFamily(
            "engine_requests", "Requests sent, or tried, since the process began.", labels=["kind"]
        )
        requests.add_metric(["submit"], tally.submits)
        requests.add_metric(["poll"], tally.polls)
        yield requests
        yield CounterMetricFamily("engine_throttled", "Answers 429 since the process began.", tally.throttles)
        pace = GaugeMetricFamily(
            "engine_pace_requests_per_minute", "What the limits and the provider allow now.", labels=["lane"]
        )
        pace.add_metric(["submit"], run.view().submit_pace_per_minute)
        yield pace
        yield SummaryMetricFamily(
            "engine_lag_seconds",
            "Time between the completion of a request and our learning of it, since the process began.",
            count_value=tally.lag_jobs,
            sum_value=tally.lag_sum_s,
        )
        yield CounterMetricFamily(
            "engine_downloaded_bytes", "Media stored since the process began.", tally.downloaded_bytes
        )

    def _money(self) -> Iterator[Metric]:
        tally = self._run.tally
        yield CounterMetricFamily("engine_spent_usd", "What the provider charged for the run.", tally.spent_usd)
        yield GaugeMetricFamily(
            "engine_reserved_usd", "What jobs in flight and unknown outcomes may still cost.", tally.reserved_usd
        )
