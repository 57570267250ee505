"""Misbehave on the connection itself: resets, cut replies, bytes that dribble, silence.

A reset is a real one: the socket is told to linger for no time and the transport is aborted, so that the
client's kernel sees RST and not an orderly end. Knows nothing of jobs.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SETTLE_S = 0.01  # lets the bytes before a reset reach the client, which may drop them otherwise


def is_gone(request: web.BaseRequest) -> bool:
    """Say whether the connection of this request is closed or being closed."""
    return request.transport is None or request.transport.is_closing()


def reset(request: web.BaseRequest) -> web.Response:
    """Abort the connection; the returned response is never sent."""
    transport = request.transport
    if transport is not None:
        with contextlib.suppress(OSError, AttributeError):
            linger = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
    return web.Response()


async def stall(request: web.BaseRequest, delay_s: float) -> web.Response:
    """Say nothing for a while, then abort the connection."""
    await asyncio.sleep(delay_s)
    return reset(request)


async def send_cut(request: web.BaseRequest, body: bytes, *, content_type: str) -> web.StreamResponse:
    """Promise the whole body, send half of it, abort."""
    response = web.StreamResponse(headers={"Content-Type": content_type})
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    await asyncio.sleep(_SETTLE_S)
    reset(request)
    return response


async def send_byte_by_byte(
    request: web.BaseRequest, body: bytes, *, content_type: str, byte_s: float
) -> web.StreamResponse:
    """Send the whole body, one byte every ``byte_s`` seconds."""
    response = web.StreamResponse(headers={"Content-Type": content_type})
    response.content_length = len(body)
    await response.prepare(request)
    for position in range(len(body)):
        await response.write(body[position : position + 1])
        await asyncio.sleep(byte_s)
    await response.write_eof()
    return response


class CloseDelimitedResponse(web.StreamResponse):
    """A body without Content-Length and without chunks: it ends where the connection ends."""

    _length_check = False  # as for a websocket; otherwise aiohttp turns to chunks


async def send_pieces(
    request: web.BaseRequest,
    pieces: Iterator[bytes],
    *,
    status: int,
    headers: Mapping[str, str],
    length_bytes: int | None,
    bytes_per_s: float,
    reset_after_bytes: int | None,
    stall_s: float,
) -> web.StreamResponse:
    """Stream a body at a pace, and break off after so many bytes if told to."""
    response = web.StreamResponse(status=status, headers=headers)
    if length_bytes is None:
        response = CloseDelimitedResponse(status=status, headers=headers)
        response.force_close()
    else:
        response.content_length = length_bytes
    await response.prepare(request)
    for piece in _limited(pieces, reset_after_bytes, bytes_per_s):
        if bytes_per_s:
            await asyncio.sleep(len(piece) / bytes_per_s)
        await response.write(piece)
    if reset_after_bytes is not None:
        await asyncio.sleep(max(stall_s, _SETTLE_S))
        reset(request)
    else:
        await response.write_eof()
    return response


def _limited(pieces: Iterator[bytes], bytes_max: int | None, bytes_per_s: float) -> Iterator[bytes]:
    """Yield the pieces up to a limit, each small enough for ten a second at this pace."""
    left = bytes_max
    step = max(1, int(bytes_per_s / 10)) if bytes_per_s else None
    for piece in pieces:
        kept = piece if left is None else piece[:left]
        if left is not None:
            left -= len(kept)
        for begin in range(0, len(kept), step or max(1, len(kept))):
            yield kept[begin : begin + (step or len(kept))]
        if left == 0:
            return
