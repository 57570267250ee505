"""The report in each of its formats: a page to look at, JSON, a table of jobs, and a few lines for a message."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import itertools
import os
import shlex
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jinja2
import msgspec
import orjson

from engine.clock import iso_utc
from engine.console.messages import harmless
from engine.console.spreadsheet import inert
from engine.console.words import duration_words
from engine.job.counted import counted
from engine.job.money import usd_words
from engine.store_url import is_store_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from engine.console.report.figures import Report
    from engine.console.report.job_rows import JobPage, JobRow

COLUMNS = (
    "line",
    "id",
    "place",
    "model",
    "request_id",
    "attempts",
    "polls",
    "cost_usd",
    "duration_s",
    "lag_s",
    "submitted_utc",
    "completed_utc",
    "file",
    "error_kind",
    "error_message",
    "prompt",
)


def as_html(report: Report, page: JobPage, *, root: Path, beside: Path, live: bool = False) -> str:
    """Return the page: one file that loads nothing but the media, which it names relative to where it lies.

    Args:
        report: the figures.
        page: the jobs of the gallery.
        root: the run directory.
        beside: the directory that the page will lie in.
        live: whether the page asks whoever serves it for newer figures, and steers the run.
    """
    style, script = _asset("report.css"), _asset("report.js")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(_asset("report.html.j2")).render(
        report=report,
        live=live,
        style=style,
        script=script,
        policy=content_policy(style, script),
        data=embedded({**document(report, root=root), **gallery(page, root=root, beside=beside)}),
    )


def content_policy(style: str, script: str) -> str:
    """Return a content security policy under which nothing but this style and this script has any effect."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_digest(style)}'",
            f"script-src '{_digest(script)}'",
            "img-src 'self' file: data:",
            "media-src 'self' file:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def document(report: Report, *, root: Path) -> dict[str, Any]:
    """Return what the page's script draws besides the jobs: the figures, and the commands that go on from them."""
    run_dir = shlex.quote(str(root))
    commands = {
        "retry": f"engine retry {run_dir} --error ",
        "resume": f"engine resume {run_dir}",
        "verify": f"engine verify {run_dir}",
        "report": f"engine report {run_dir} --from-line ",
    }
    return {**msgspec.to_builtins(report), "commands": commands}


def gallery(page: JobPage, *, root: Path, beside: Path) -> dict[str, Any]:
    """Return what the page's script draws of the jobs, with the addresses of their files."""
    prefix = os.path.relpath(root.absolute(), beside.absolute())
    whole: dict[str, Any] = msgspec.to_builtins(page)
    for job in whole["jobs"]:
        job["files"] = [[_address(prefix, path), kind, size] for path, kind, size in job["files"]]
    return whole


def embedded(whole: dict[str, Any]) -> str:
    """Return JSON that cannot end the element it stands in, nor open another."""
    return (
        orjson.dumps(whole).decode().replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    )


def as_json(report: Report, jobs: Iterable[JobRow]) -> Iterator[bytes]:
    """Yield one JSON object in pieces: the figures, and every job."""
    yield orjson.dumps(msgspec.to_builtins(report))[:-1] + b',"jobs":['
    for number, job in enumerate(jobs):
        yield (b"," if number else b"") + orjson.dumps(msgspec.to_builtins(job))
    yield b"]}\n"


def as_csv(jobs: Iterable[JobRow]) -> Iterator[bytes]:
    """Yield a head and one row a job; no cell is a formula."""
    row = io.StringIO()
    writer = csv.writer(row, lineterminator="\n")
    for values in itertools.chain([COLUMNS], map(_row, jobs)):
        writer.writerow([inert(value) if isinstance(value, str) else value for value in values])
        yield row.getvalue().encode()
        row.seek(0)
        row.truncate()


def as_markdown(report: Report) -> str:
    """Return a few lines for a message or an issue."""
    found = report.survey
    places = (
        f"{found.succeeded:,} of {found.lines:,} succeeded",
        f"{found.failed:,} failed",
        f"{found.invalid:,} invalid",
        f"{found.unknown:,} unknown",
        f"{found.in_flight + found.remaining:,} to come",
    )
    money = f"{usd_words(found.spent_usd)} spent on {counted(found.submissions, 'submission')}"
    rest = f"{usd_words(found.reserved_usd)} reserved, {found.media_bytes / 1e6:,.1f} MB of media"
    lines = [f"**{_inline(report.name)}**: {', '.join(places)}", "", f"- {money}, {rest}"]
    if report.stopped is not None:
        hint = f"; {report.stopped.hint}" if report.stopped.hint else ""
        lines.append(f"- stopped early: {_inline(report.stopped.message + hint)}")
    if report.wall_s is not None:
        lines.append(f"- {duration_words(report.wall_s)}, {report.finished_per_hour or 0:,.1f} jobs an hour")
    lines += [
        f"- {cause.jobs:,} {cause.status} ({cause.kind}), for example line {cause.example_line}: "
        f"{_inline(cause.example_message)}"
        for cause in found.causes
    ]
    lines += [f"- {'kept' if promise.kept else 'BROKEN'}: {promise.promise}" for promise in report.promises]
    return "\n".join(lines) + "\n"


def _inline(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return "".join(f"\\{character}" if character in "\\`*_{}[]<>()#+-!|" else character for character in harmless(text))


def _row(job: JobRow) -> list[Any]:
    error = job.error or {}
    times = [None if utc is None else iso_utc(utc) for utc in (job.submitted_utc, job.completed_utc)]
    file = job.files[0][0] if job.files else None
    return [
        job.line, job.id, job.place, job.model, job.request_id, job.attempts, job.polls, job.cost_usd, job.duration_s,
        job.lag_s, *times, file, error.get("kind"), error.get("message"), job.prompt,
    ]  # fmt: skip


def _address(prefix: str, path: str) -> str:
    if is_store_url(path):
        return path  # shown as text: whoever looks at the page has no credentials of the store
    return quote(path if Path(path).is_absolute() or prefix == "." else f"{prefix}/{path}")


def _asset(name: str) -> str:
    return resources.files("engine.console.report").joinpath("assets", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
