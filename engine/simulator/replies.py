"""The provider's envelopes: JSON, the HTML of its edge, the XML of its file store, the 429.

Each function makes one kind of reply from plain values. Knows nothing of jobs or of when a reply is due.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import orjson
from aiohttp import web
from multidict import CIMultiDict

from engine.simulator.timestamps import Notation, write_instant

if TYPE_CHECKING:
    from engine.simulator.scenario import Rate

JSON = "application/json"
_EDGE_TITLES = {
    405: "405 Method Not Allowed",
    502: "502 Bad Gateway",
    503: "503 Service Temporarily Unavailable",
    504: "504 Gateway Time-out",
}


def json_reply(value: object, status: int = 200) -> web.Response:
    """Answer with JSON."""
    return web.Response(body=orjson.dumps(value), status=status, content_type=JSON)


def error_reply(status: int, text: str) -> web.Response:
    """Answer with the documented error envelope."""
    return json_reply({"error": text}, status)


def unauthorized_reply(description: str) -> web.Response:
    """Answer 401 with the longer envelope of authentication errors."""
    return json_reply({"error": "Unauthorized", "error_description": description, "status_code": 401}, 401)


def edge_page(status: int) -> web.Response:
    """Answer with the HTML page that the edge in front of the gateway makes."""
    title = _EDGE_TITLES.get(status, f"{status} Error")
    page = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n"
        f"<body>\r\n<center><h1>{title}</h1></center>\r\n<hr></body>\r\n</html>\r\n"
    )
    return web.Response(text=page, status=status, content_type="text/html")


def ok_page() -> web.Response:
    """Answer 200 with an HTML page where something else was asked for."""
    return web.Response(
        text="<!DOCTYPE html><html><body><h1>Just a moment...</h1></body></html>", content_type="text/html"
    )


def file_error(status: int, code: str) -> web.Response:
    """Answer with the XML of a file store."""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'
    return web.Response(text=text, status=status, content_type="application/xml")


def rate_limited_reply(rate: Rate, *, wait_s: float, utc_s: float) -> web.Response:
    """Answer 429 with the scenario's header."""
    headers: CIMultiDict[str] = CIMultiDict()
    match rate.header:
        case "none":
            pass
        case "retry_after":
            headers["Retry-After"] = str(math.ceil(wait_s))
        case "literal":
            for name, value in rate.literal_headers:
                headers.add(name, value)
        case notation:
            headers["x-rate-limit-reset-at-utc"] = write_instant(utc_s + wait_s, Notation(notation))
    body = orjson.dumps({"error": "Rate limit exceeded. Please try again later."})
    return web.Response(body=body, status=429, content_type=JSON, headers=headers)
