"""Read a reply that is the result itself: of a provider whose submission blocks until the generation is done.

Pure. What comes under a media type of JSON or text is kept as such; anything else is a file, and becomes a ``data:``
URI, the one form in which a result can carry its bytes. A reply that is no whole result decides nothing: the work may
be done and charged, and the provider's history may still show it.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import orjson

from engine.provider.reply import usable_request_id
from engine.provider.results import metrics_of, result_of
from engine.provider.verdict import Answered, Result, UnknownOutcome

if TYPE_CHECKING:
    from engine.provider.description import ProviderDescription
    from engine.provider.reply import Reply

ANY_BYTES = "application/octet-stream"

_DONE = frozenset({200, 201})
_MEDIA_TYPE = re.compile(r"[a-z0-9.+_-]{1,60}/[a-z0-9.+_-]{1,60}\Z", re.ASCII)
_TELLS_NOTHING = frozenset({ANY_BYTES, "binary/octet-stream"})
_PAGES = frozenset({"text/html", "application/xhtml+xml"})
_NO_JSON = object()


def answered(reply: Reply, provider: ProviderDescription) -> Answered | UnknownOutcome:
    """Say what the 2xx reply to a submission that blocks until its end gives."""
    kind = _media_type(reply)
    if reply.status not in _DONE or kind in _PAGES or not reply.body or reply.body.isspace():
        return UnknownOutcome(f"HTTP {reply.status} without a result", reply.status)
    is_json = kind == "application/json" or kind.endswith("+json")
    body = _json(reply.body) if is_json or kind in _TELLS_NOTHING else _NO_JSON
    if body is _NO_JSON and is_json:
        return UnknownOutcome(f"HTTP {reply.status} with JSON that is broken or cut short", reply.status)
    if body is not _NO_JSON:
        result = result_of(reply, body, provider)
    elif kind.startswith("text/"):
        metrics = metrics_of(reply, None, provider)
        result = Result(reply.body.decode("utf-8", errors="replace"), (), None, None, metrics)
    else:
        url = f"data:{kind};base64,{b64encode(reply.body).decode()}"
        result = Result(None, (url,), len(reply.body), kind, metrics_of(reply, None, provider))
    return Answered(usable_request_id(reply.value_at(provider.submit.id, result.output)) or "", result)


def _media_type(reply: Reply) -> str:
    """Return the media type of a body without its parameters; of one that names none, that of any bytes."""
    word = reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return word if _MEDIA_TYPE.match(word) else ANY_BYTES


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _NO_JSON
