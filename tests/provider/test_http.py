"""Every way in which a network or a server can go wrong, against servers that do."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import socket
import ssl
import subprocess
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest
from msgspec.structs import replace

from engine.provider.description import load_description
from engine.provider.protocol import Request
from engine.provider.verdict import (
    Accepted,
    Answered,
    Completed,
    Metrics,
    NotFound,
    NotSent,
    Rejected,
    Result,
    ServerError,
    Throttled,
    Unauthorized,
    Unavailable,
    UnknownOutcome,
    Working,
    WrongContract,
)
from tests.provider.conftest import KEY, RawServer, reply_bytes, reset

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from engine.provider.http_provider import HttpProvider

    Serve = Callable[..., Awaitable[RawServer]]
    Connect = Callable[..., Awaitable[HttpProvider]]

pytestmark = pytest.mark.sockets

ID = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
VIDEOS = Path(__file__).parents[1] / "dialects" / "openai.toml"
MODEL = "kling-2.6"
PARAMS = {"prompt": "ü", "seed": 1.0}
ACCEPTED = reply_bytes("200 OK", orjson.dumps({"request_id": ID, "status": "QUEUED"}))


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- replies that are results, and held ones -------------------------------------------------------


async def test_the_reply_to_a_submission_may_be_the_file(serve: Serve, connect: Connect) -> None:
    png = b"\x89PNG\r\n\x1a\n"
    server = await serve(reply_bytes("200 OK", png, "Content-Type: image/png", f"x-request-id: {ID}", "X-Cost: 0.04"))
    provider = await connect(server.url, description=load_description("segmind-sync"))
    verdict = await provider.submit("seedream-4.5", PARAMS)
    assert isinstance(verdict, Answered)
    assert (verdict.request_id, verdict.result.metrics.cost_usd) == (ID, 0.04)
    assert verdict.result.urls == ("data:image/png;base64,iVBORw0KGgo=",)
    (head,) = server.heads
    assert head.startswith(b"POST /v1/seedream-4.5 HTTP/1.1\r\n")
    assert b"Accept: */*\r\n" in head
    assert isinstance(await provider.poll(Request(ID)), NotFound)
    assert isinstance(await provider.fetch(Request(ID)), NotFound)
    assert server.connections == 1


async def test_a_header_that_repeats_the_key_does_not_get_it_into_our_records(serve: Serve, connect: Connect) -> None:
    server = await serve(reply_bytes("200 OK", b"abc", "Content-Type: image/png", f"x-request-id: {KEY}"))
    provider = await connect(server.url, description=load_description("segmind-sync"))
    verdict = await provider.submit("seedream-4.5", PARAMS)
    assert isinstance(verdict, Answered)
    assert verdict.request_id == ""


async def test_a_reply_that_is_cut_leaves_the_outcome_unknown(serve: Serve, connect: Connect) -> None:
    server = await serve(reply_bytes("200 OK", b"abcdef", "Content-Type: image/png")[:-3])
    provider = await connect(server.url, description=load_description("segmind-sync"))
    assert isinstance(await provider.submit("seedream-4.5", PARAMS), UnknownOutcome)


async def test_a_description_says_how_long_replies_may_take(serve: Serve, connect: Connect) -> None:
    async def late(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)
        writer.write(reply_bytes("200 OK", b'{"status":"PROCESSING","request_id":"a"}'))

    patient = load_description("segmind")
    patient = replace(
        patient, submit=replace(patient.submit, reply_s_max=30.0), status=replace(patient.status, wait_s=30.0)
    )
    server = await serve(late)
    settings = {"request_timeout_s": 0.1, "submit_timeout_s": 0.1, "connect_timeout_s": 5.0}
    provider = await connect(server.url, description=patient, **settings)
    assert await provider.submit(MODEL, PARAMS) == Accepted("a")
    assert await provider.poll(Request(ID)) == Working("PROCESSING")
    assert await provider.fetch(Request(ID)) == Unavailable("no answer in time")
    hasty = await connect(server.url, **settings)
    assert await hasty.poll(Request(ID)) == Unavailable("no answer in time")


async def test_a_result_may_be_the_bytes_at_an_address_of_the_api(serve: Serve, connect: Connect) -> None:
    body = {"id": ID, "status": "completed"}
    server = await serve(reply_bytes("200 OK", orjson.dumps(body)))
    provider = await connect(server.url, description=load_description(str(VIDEOS)))
    found = await provider.poll(Request(ID, "sora-2"))
    assert found == Result(body, (f"{server.url}/v1/videos/{ID}/content",), None, None, Metrics())
    assert await provider.fetch(Request(ID, "sora-2")) == found
    assert [head.split(b" ")[1].decode() for head in server.heads] == [f"/v1/videos/{ID}?wait=2"] * 2


# --- what is sent ---------------------------------------------------------------------------------


async def test_a_submission_is_exactly_the_params_as_json_with_the_key_in_its_header(
    serve: Serve, connect: Connect
) -> None:
    bodies: list[bytes] = []

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append(await reader.readexactly(len(orjson.dumps(PARAMS))))
        writer.write(ACCEPTED)

    server = await serve(behave)
    provider = await connect(server.url)
    assert await provider.submit(MODEL, PARAMS) == Accepted(ID)
    assert orjson.loads(bodies[0]) == PARAMS
    (head,) = server.heads
    assert head.startswith(b"POST /v2/kling-2.6 HTTP/1.1\r\n")
    assert f"x-api-key: {KEY}\r\n".encode() in head
    assert b"Content-Type: application/json\r\n" in head


async def test_each_submission_has_a_connection_of_its_own_and_readings_share_theirs(
    serve: Serve, connect: Connect
) -> None:
    body = b'{"status":"PROCESSING","request_id":"a"}'

    async def keep_alive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
            await reader.readuntil(b"\r\n\r\n")

    server = await serve(keep_alive)
    provider = await connect(server.url)
    for _ in range(3):
        assert await provider.poll(Request(ID)) == Working("PROCESSING")
    assert server.connections == 1
    for _ in range(3):
        await provider.submit(MODEL, {})
    assert server.connections == 4


async def test_polls_and_fetches_go_to_the_address_built_from_the_id(serve: Serve, connect: Connect) -> None:
    server = await serve(reply_bytes("200 OK", b'{"status":"COMPLETED","output":"https://a.example/b.mp4"}'))
    provider = await connect(f"{server.url}/")
    assert isinstance(await provider.poll(Request(ID)), Completed)
    assert isinstance(await provider.fetch(Request(ID)), Result)
    assert [head.split(b" ")[1].decode() for head in server.heads] == [
        f"/v2/requests/{ID}/status",
        f"/v2/requests/{ID}",
    ]


async def test_credits_are_summed_or_unavailable(serve: Serve, connect: Connect) -> None:
    server = await serve(reply_bytes("200 OK", b'{"credits":12.5,"free-credits":0.01}'))
    assert await (await connect(server.url)).credits_usd() == pytest.approx(12.51)
    for wrong in (reply_bytes("200 OK", b"[]"), reply_bytes("500 No", b'{"credits":1}'), b""):
        server = await serve(wrong)
        assert isinstance(await (await connect(server.url)).credits_usd(), Unavailable)


# --- not sent -------------------------------------------------------------------------------------


async def test_a_refused_connection_means_not_sent(connect: Connect) -> None:
    provider = await connect(f"http://127.0.0.1:{closed_port()}")
    assert isinstance(await provider.submit(MODEL, PARAMS), NotSent)
    verdict = await provider.poll(Request(ID))
    assert isinstance(verdict, Unavailable)
    assert not verdict.reached


async def test_a_name_that_does_not_resolve_means_not_sent(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_such_name(*_args: object, **_kwargs: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", no_such_name)
    provider = await connect("http://api.invalid")
    assert isinstance(await provider.submit(MODEL, PARAMS), NotSent)


async def test_a_name_server_that_never_answers_means_not_sent(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(*_args: object, **_kwargs: object) -> object:
        return await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", silent)
    provider = await connect("http://api.invalid", submit_timeout_s=0.2)
    assert isinstance(await provider.submit(MODEL, PARAMS), NotSent)


async def test_a_connect_that_takes_too_long_means_not_sent(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_args: object, **_kwargs: object) -> object:
        return await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never)
    provider = await connect("http://127.0.0.1:9", connect_timeout_s=0.1)
    assert isinstance(await provider.submit(MODEL, PARAMS), NotSent)


async def test_a_tls_handshake_that_hangs_means_not_sent(serve: Serve, connect: Connect) -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    server = await serve(silent, read_head=False)
    provider = await connect(server.url.replace("http:", "https:"), connect_timeout_s=0.2)
    assert isinstance(await provider.submit(MODEL, PARAMS), NotSent)


async def test_a_server_that_speaks_no_tls_means_not_sent(serve: Serve, connect: Connect) -> None:
    server = await serve(b"HTTP/1.1 400 Bad Request\r\n\r\n", read_head=False)
    provider = await connect(server.url.replace("http:", "https:"))
    assert isinstance(await provider.submit(MODEL, PARAMS), NotSent)


async def test_a_bad_certificate_stops_the_run_and_sends_nothing(
    serve: Serve, connect: Connect, tmp_path: Path
) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=127.0.0.1"]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = await serve(ACCEPTED, ssl=context)
    provider = await connect(server.url.replace("http:", "https:"))
    assert isinstance(await provider.submit(MODEL, PARAMS), WrongContract)
    assert isinstance(await provider.poll(Request(ID)), WrongContract)
    assert server.heads == []


# --- sent, and nobody knows -----------------------------------------------------------------------


async def reset_before_reading(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def close_in_order(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    return


async def half_a_head(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    await writer.drain()
    reset(writer)


async def half_a_body(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(ACCEPTED[:-20])
    await writer.drain()


@pytest.mark.parametrize("behave", [reset_before_reading, close_in_order, half_a_head, half_a_body])
async def test_a_connection_lost_after_the_request_left_is_unknown(
    serve: Serve, connect: Connect, behave: Callable[..., Awaitable[None]]
) -> None:
    server = await serve(behave)
    provider = await connect(server.url)
    assert isinstance(await provider.submit(MODEL, PARAMS), UnknownOutcome)
    assert server.connections == 1
    verdict = await provider.poll(Request(ID))
    assert isinstance(verdict, Unavailable)
    assert verdict.reached


@pytest.mark.parametrize(
    "content",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nBad Header\x00: x\r\n\r\n",
        b"HTTP/9.9 999 What\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        reply_bytes("200 OK", b"not gzip at all", "Content-Encoding: gzip"),
    ],
)
async def test_a_malformed_reply_decides_nothing(serve: Serve, connect: Connect, content: bytes) -> None:
    """The library turns it into a 400 of its own making, which must not fail the job."""
    server = await serve(content)
    provider = await connect(server.url)
    assert isinstance(await provider.submit(MODEL, PARAMS), UnknownOutcome)
    assert isinstance(await provider.poll(Request(ID)), Unavailable)
    assert isinstance(await provider.fetch(Request(ID)), Unavailable)


@pytest.mark.parametrize("body", [b'{"request_id": "0f1e', b"", b"<html>ok</html>", b'{"request_id": null}'])
async def test_a_success_without_an_id_is_unknown(serve: Serve, connect: Connect, body: bytes) -> None:
    server = await serve(reply_bytes("200 OK", body))
    assert isinstance(await (await connect(server.url)).submit(MODEL, PARAMS), UnknownOutcome)


async def test_a_body_without_a_length_that_ends_in_a_reset_is_not_believed(serve: Serve, connect: Connect) -> None:
    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'HTTP/1.1 200 OK\r\n\r\n{"request_id":"0f1e2d')
        await writer.drain()
        await asyncio.sleep(0)
        reset(writer)

    server = await serve(behave)
    assert isinstance(await (await connect(server.url)).submit(MODEL, PARAMS), UnknownOutcome)


async def test_a_server_that_never_answers_is_given_up_in_time(serve: Serve, connect: Connect) -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    server = await serve(silent)
    provider = await connect(server.url, submit_timeout_s=0.2, request_timeout_s=0.2)
    assert await provider.submit(MODEL, PARAMS) == UnknownOutcome("no answer in time")
    assert await provider.poll(Request(ID)) == Unavailable("no answer in time")


async def test_one_byte_now_and_then_does_not_hold_a_request_for_ever(serve: Serve, connect: Connect) -> None:
    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    server = await serve(drip)
    provider = await connect(server.url, request_timeout_s=0.3)
    assert await provider.poll(Request(ID)) == Unavailable("no answer in time")


# --- too much -------------------------------------------------------------------------------------


async def test_a_huge_body_is_dropped_at_the_cap(serve: Serve, connect: Connect) -> None:
    sent = 0

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while sent < 1_000_000_000:
            writer.write(b" " * 65_536)
            await writer.drain()
            sent += 65_536

    server = await serve(flood)
    provider = await connect(server.url)
    assert await provider.poll(Request(ID)) == Unavailable("a reply of more than 100000 bytes")
    assert sent < 50_000_000


async def test_a_gzip_bomb_costs_little_memory(serve: Serve, connect: Connect) -> None:
    bomb = await asyncio.to_thread(gzip.compress, bytes(200_000_000), 9)
    server = await serve(reply_bytes("200 OK", bomb, "Content-Encoding: gzip"))
    provider = await connect(server.url)
    tracemalloc.start()
    try:
        assert isinstance(await provider.poll(Request(ID)), Unavailable)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 20_000_000


# --- what the server says -------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_and_the_key_goes_nowhere_else(
    serve: Serve, connect: Connect, status: int
) -> None:
    elsewhere = await serve(ACCEPTED)
    server = await serve(reply_bytes(f"{status} Moved", b"", f"Location: {elsewhere.url}/v2/kling-2.6"))
    provider = await connect(server.url)
    for ask in (provider.submit(MODEL, PARAMS), provider.poll(Request(ID)), provider.fetch(Request(ID))):
        assert isinstance(await ask, WrongContract)
    assert elsewhere.connections == 0


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (reply_bytes("400 Bad Request", b'{"error":"no image"}'), Rejected),
        (reply_bytes("401 Unauthorized", b'{"error":"no"}'), Unauthorized),
        (reply_bytes("405 Method Not Allowed", b"<html>"), WrongContract),
        (reply_bytes("429 Too Many", b"", "Retry-After: 7"), Throttled),
        (reply_bytes("500 Internal", b'{"error":"no"}'), ServerError),
        (reply_bytes("502 Bad Gateway", b"<html>"), UnknownOutcome),
    ],
)
async def test_the_servers_own_status_decides(serve: Serve, connect: Connect, content: bytes, kind: type) -> None:
    server = await serve(content)
    assert isinstance(await (await connect(server.url)).submit(MODEL, PARAMS), kind)


async def test_the_first_of_two_headers_counts_and_their_case_does_not(serve: Serve, connect: Connect) -> None:
    server = await serve(reply_bytes("429 Too Many", b"", "RETRY-AFTER: 7", "Retry-After: 90"))
    assert await (await connect(server.url)).submit(MODEL, PARAMS) == Throttled(7.0)


async def test_a_server_that_repeats_the_key_does_not_get_it_into_our_records(serve: Serve, connect: Connect) -> None:
    body = orjson.dumps({"error": f"key {KEY} may not use this", "status": "FAILED"})
    for status in ("400 No", "401 No", "422 No", "500 No", "200 OK"):
        server = await serve(reply_bytes(status, body))
        provider = await connect(server.url)
        for ask in (provider.submit(MODEL, PARAMS), provider.poll(Request(ID)), provider.fetch(Request(ID))):
            assert KEY not in repr(await ask)


async def test_no_reason_holds_the_key(serve: Serve, connect: Connect) -> None:
    server = await serve(b"garbage\r\n\r\n")
    for url in (server.url, f"http://127.0.0.1:{closed_port()}"):
        provider = await connect(url)
        assert KEY not in repr([await provider.submit(MODEL, PARAMS), await provider.poll(Request(ID))])
        assert KEY not in repr(provider)
