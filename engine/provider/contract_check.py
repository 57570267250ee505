"""Refuse a description whose tables have the right types and cannot work: with the key, and what it must be.

A mistake in a description costs money: a wrong place of the request's id makes every paid submission an unknown one.
So whatever can be known before the first request is checked here.
"""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING

from engine.errors import ConfigError
from engine.job.shown import shown
from engine.provider.contract import NOT_ASKED_ABOUT
from engine.provider.json_path import path_problem
from engine.provider.reply import HEADER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.provider.description import ProviderDescription

_HOST = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:[0-9]{1,5})?\Z")
_HEADER = re.compile(r"[A-Za-z0-9-]+\Z")
_OURS = frozenset({"content-type", "content-length", "host", "accept", "accept-encoding", "user-agent", "connection"})


def check_contract(description: ProviderDescription, where: str) -> None:
    """Raise if a key cannot be what it is for.

    Raises:
        ConfigError: with the key and what it must be.
    """
    for problem in (
        *_contradictions(description),
        *_addresses(description),
        *_places(description),
        *_words(description),
        *_headers(description),
        *_uploads(description),
    ):
        raise ConfigError(f"{where}{problem}")


def _contradictions(description: ProviderDescription) -> Iterator[str]:
    """Name what has no meaning beside what else is said: whoever wrote it expects what will not happen."""
    submit, result = description.submit, description.result
    if submit.is_synchronous:
        if description.status != NOT_ASKED_ABOUT:
            yield "status has no meaning with submit.answers = 'result': nothing is asked about; remove the table"
        for key in ("path", "url_from", "bytes", "word", "failed_codes"):
            if getattr(result, key):
                yield f"result.{key} has no meaning with submit.answers = 'result': the reply is the result; remove it"
    elif description.status == NOT_ASKED_ABOUT:
        yield "status is missing: where is a request asked about, and by which words is it done or failed?"
    if result.bytes:
        if not result.path and not result.url_from:
            yield "result.path is missing: with result.bytes it is where the file itself is; it holds {id}"
        for key in ("outputs", "word", "failed_codes"):
            if getattr(result, key):
                yield f"result.{key} has no meaning with result.bytes: what is at result.path is the file; remove it"
    elif not result.outputs:
        yield "result.outputs is missing: where in the result are its files?"


def _addresses(description: ProviderDescription) -> Iterator[str]:
    submit, status, result = description.submit, description.status, description.result
    ids = (("status.path", status.path), ("result.path", result.path), ("cancel.path", description.cancel.path))
    for key, path in (("submit.path", submit.path), *ids, ("credits.path", description.credits.path)):
        if path and not path.startswith("/"):
            yield f"{key} must begin with '/', because it follows base_url, not {shown(path)}"
        try:
            fields = {field for _, field, _, _ in string.Formatter().parse(path) if field is not None}
        except ValueError:
            fields = {"{"}
        if strange := sorted(fields - {"model", "id"}):
            yield f"{key} holds {{{strange[0]}}}, which nobody fills in; there are {{model}} and {{id}}"
    if not submit.path:
        yield "submit.path is empty"
    if not submit.model_key and "{model}" not in submit.path:
        yield "submit.path must hold {model}, or submit.model_key must say where in the body the model is named"
    if not submit.is_synchronous and not status.path and not status.url_from:
        yield "status.path is missing: where is a request asked about? It holds {id}"
    for key, path in ids:
        if path and "{id}" not in path:
            yield f"{key} must hold {{id}}, else it names no request"


def _places(description: ProviderDescription) -> Iterator[str]:
    submit, status, result, metrics = description.submit, description.status, description.result, description.metrics
    one = {
        "submit.id": submit.id,
        "status.word": status.word,
        "status.url_from": status.url_from,
        "status.failed_if": status.failed_if,
        "result.url_from": result.url_from,
        "result.word": result.word,
        "cancel.url_from": description.cancel.url_from,
        **{f"metrics.{name}": getattr(metrics, name) for name in metrics.__struct_fields__},
    }
    in_headers = {"submit.id", *(key for key in one if key.startswith("metrics."))}
    needed = {"status.word"} if submit.is_synchronous and not description.history_url else {"status.word", "submit.id"}
    lists = {
        "errors": description.errors,
        "result.size": result.size,
        "result.content_type": result.content_type,
        "credits.amounts": description.credits.amounts,
        "upload.urls": description.upload.urls,
    }
    for key, path in (*one.items(), *((key, path) for key, paths in lists.items() for path in paths)):
        if key in in_headers and path.startswith(HEADER):
            if not _HEADER.match(path.removeprefix(HEADER)):
                yield f"{key} is no name of a header behind '{HEADER}': {shown(path)}"
        elif (path or key in needed) and (problem := path_problem(path)):
            yield f"{key} {problem}"
    for path in result.outputs:
        if problem := path_problem(path, many=True):
            yield f"result.outputs {problem}"
    if description.credits.path and not description.credits.amounts:
        yield "credits.amounts is missing: where in the reply is the balance?"


def _uploads(description: ProviderDescription) -> Iterator[str]:
    upload = description.upload
    if description.upload_url and upload.inline:
        yield "upload_url and upload.inline contradict each other: is a file uploaded, or sent inside the job?"
    if description.upload_url and not upload.wrap:
        yield "upload.wrap is missing: which key of an upload's body holds the files?"
    if description.upload_url and not upload.urls:
        yield "upload.urls is missing: where in the reply is the address of the file?"


def _words(description: ProviderDescription) -> Iterator[str]:
    status = description.status
    if not status.done and not description.submit.is_synchronous:
        yield "status.done is empty: by which word is a request done?"
    groups = {"done": status.done, "failed": status.failed, "gone": status.gone}
    seen: dict[str, str] = {}
    for name, words in groups.items():
        for word in words:
            if other := seen.get(word):
                yield f"status.{name} and status.{other} both hold {shown(word)}"
            seen[word] = name
    cancel = description.cancel
    if cancel.free and not cancel.is_offered:
        yield "cancel.free says what cancelling costs, and neither cancel.path nor cancel.url_from says how it is done"
    if ended := sorted(set(cancel.free) & {*status.done, *status.failed}):
        yield f"cancel.free holds {shown(ended[0])}, under which a request has ended: there is nothing to cancel"
    for code in description.submit.money_words:
        if not (code.isdigit() and code.startswith("4")):
            yield f"submit.money_words has the key {shown(code)}, which is no HTTP status from 400 to 499"


def _headers(description: ProviderDescription) -> Iterator[str]:
    auth = description.auth
    if "{key}" not in auth.value:
        yield "auth.value must hold {key}, else the key is never shown"
    for key, name in (("auth.header", auth.header), *(("headers", name) for name in description.headers)):
        if not _HEADER.match(name):
            yield f"{key} is no name of a header: {shown(name)}"
        elif name.lower() in _OURS:
            yield f"{key} may not be {shown(name)}, which the engine sets itself"
    for name, value in (("auth.value", auth.value), *description.headers.items()):
        if not value.isprintable() or not value.isascii():
            yield f"the header {shown(name)} holds characters that no header may have"
    for host in description.trusted_hosts:
        if not _HOST.match(host):
            yield f"trusted_hosts holds {shown(host)}, which is no host; it is written like 'api.example.com'"
