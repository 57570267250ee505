"""The provider's error table, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from engine.provider.description import load_description
from engine.provider.interpretation import fetch_verdict, poll_verdict, submit_verdict
from engine.provider.reply import NoReply, Reply
from engine.provider.verdict import (
    Accepted,
    Completed,
    Failed,
    NotFound,
    NotReady,
    NotSent,
    OutOfMoney,
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

if TYPE_CHECKING:
    from engine.provider.verdict import FetchVerdict, PollVerdict, SubmitVerdict

SEGMIND = load_description("segmind")
ID = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
HTML = b"<html><h1>502 Bad Gateway</h1></html>"
URL = "https://images.example.com/a.mp4"
LOST = NoReply("no answer in time", sent=True)
NOT_SENT = NoReply("refused", sent=False)
BAD_CERTIFICATE = NoReply("the certificate was refused", sent=False, bad_certificate=True)


def reply(status: int, body: object = b"", **headers: str) -> Reply:
    return Reply(status, headers, body if isinstance(body, bytes) else orjson.dumps(body))


def error(status: int, text: str = "no") -> Reply:
    return reply(status, {"error": text})


def submitted(answer: Reply | NoReply) -> SubmitVerdict:
    return submit_verdict(answer, SEGMIND, model="kling-2.6", utc=0.0)


def polled(answer: Reply | NoReply) -> PollVerdict:
    return poll_verdict(answer, SEGMIND, utc=0.0)


def fetched(answer: Reply | NoReply) -> FetchVerdict:
    return fetch_verdict(answer, SEGMIND, utc=0.0)


# --- submit ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_success_with_an_id_is_accepted(status: int) -> None:
    assert submitted(reply(status, {"request_id": ID, "status": "QUEUED"})) == Accepted(ID)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        HTML,
        b'{"request_id": "0f1e',
        b"[]",
        b"null",
        {"status": "QUEUED"},
        {"request_id": "../x"},
        {"request_id": 7},
    ],
)
def test_a_success_without_a_usable_id_is_unknown(body: object) -> None:
    assert isinstance(submitted(reply(200, body)), UnknownOutcome)


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_job_refused_for_itself_fails_with_the_message(status: int) -> None:
    verdict = submitted(error(status, "no such voice"))
    assert isinstance(verdict, Rejected)
    assert (verdict.error.kind, verdict.error.message, verdict.error.http_status, verdict.error.paid) == (
        "rejected",
        "no such voice",
        status,
        False,
    )


def test_a_forbidden_model_fails_the_job_under_its_own_kind() -> None:
    verdict = submitted(error(403))
    assert isinstance(verdict, Rejected)
    assert verdict.error.kind == "forbidden"


def test_a_refused_key_is_told_apart() -> None:
    assert submitted(error(401, "invalid key")) == Unauthorized("invalid key")


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (402, "anything"),
        (406, "Insufficient credits"),
        (406, "You have exceeded your team spend limit"),
        (406, "Team limit reached"),
        (406, "account balance too low"),
        (406, "Monthly quota used up"),
    ],
)
def test_money_is_told_apart(status: int, text: str) -> None:
    assert submitted(error(status, text)) == OutOfMoney(text, status)


def test_a_406_about_the_content_type_is_our_own_mistake() -> None:
    assert isinstance(submitted(error(406, "Invalid content type")), WrongContract)


def test_another_406_fails_the_job() -> None:
    verdict = submitted(error(406, "prompt too long"))
    assert isinstance(verdict, Rejected)


@pytest.mark.parametrize("status", [404, 410])
def test_an_unknown_or_retired_model_stops_the_run_and_is_named(status: int) -> None:
    verdict = submitted(error(status))
    assert isinstance(verdict, WrongContract)
    assert "kling-2.6" in verdict.message


@pytest.mark.parametrize("status", [301, 302, 303, 304, 307, 308, 405, 411, 414, 421, 426, 431])
def test_the_wrong_address_or_method_stops_the_run(status: int) -> None:
    assert isinstance(submitted(reply(status, HTML)), WrongContract)


def test_too_many_requests_carry_the_servers_word() -> None:
    assert submitted(reply(429, b"", **{"Retry-After": "7"})) == Throttled(7.0)
    assert submitted(reply(429, HTML)) == Throttled(None)


def test_a_documented_500_is_a_bounded_retry() -> None:
    assert submitted(error(500, "internal")) == ServerError("internal", 500)


@pytest.mark.parametrize("body", [b"", HTML, b'{"error": ', b"0", b"null", b'"oops"', b"{}"])
def test_a_500_that_is_not_the_documented_one_is_unknown(body: bytes) -> None:
    assert isinstance(submitted(reply(500, body)), UnknownOutcome)


@pytest.mark.parametrize("status", [501, 502, 503, 504, 520, 522, 524, 599])
@pytest.mark.parametrize("body", [b"", HTML, {"error": "bad gateway"}])
def test_an_edge_that_fails_leaves_the_outcome_unknown(status: int, body: object) -> None:
    assert isinstance(submitted(reply(status, body)), UnknownOutcome)


@pytest.mark.parametrize("status", [101, 103, 408, 409, 418, 423, 424, 425, 451, 460, 499, 999])
def test_a_status_that_nobody_documented_does_not_prove_that_nothing_was_accepted(status: int) -> None:
    assert isinstance(submitted(reply(status, b"")), UnknownOutcome)


def test_a_lost_reply_is_unknown_and_an_unsent_request_is_not() -> None:
    assert submitted(LOST) == UnknownOutcome("no answer in time")
    assert submitted(NOT_SENT) == NotSent("refused")


def test_a_bad_certificate_stops_the_run() -> None:
    assert isinstance(submitted(BAD_CERTIFICATE), WrongContract)


@pytest.mark.parametrize("status", range(100, 600))
def test_only_a_status_that_says_so_lets_a_job_be_submitted_again(status: int) -> None:
    proven = {300, 301, 302, 303, 304, 305, 307, 308, 401, 402, 404, 405, 406, 410, 411, 414, 421, 426, 429, 431}
    again = isinstance(
        submitted(reply(status, HTML)), NotSent | ServerError | OutOfMoney | Throttled | Unauthorized | WrongContract
    )
    assert not again or status in proven


# --- poll -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize("word", ["QUEUED", "PROCESSING", "WARMING_UP", "", "completed", "succeeded"])
def test_an_unknown_word_means_still_working(status: int, word: str) -> None:
    assert polled(reply(status, {"status": word})) == Working(word)


@pytest.mark.parametrize("status", [200, 202])
def test_completed_wins_over_the_code_and_brings_its_metrics(status: int) -> None:
    verdict = polled(reply(status, {"status": "COMPLETED", "metrics": {"inference_time": 13.06}}))
    assert isinstance(verdict, Completed)
    assert verdict.metrics.inference_s == 13.06


@pytest.mark.parametrize("status", [200, 202, 422])
def test_a_failed_generation_is_final_with_its_text(status: int) -> None:
    verdict = polled(reply(status, {"status": "FAILED", "error": "face not found"}))
    assert isinstance(verdict, Failed)
    assert (verdict.message, verdict.http_status) == ("face not found", status)


@pytest.mark.parametrize(
    "body",
    [b"", HTML, b"NaN", b'{"status": "COMPL', b"[]", {}, {"status": None}, {"status": 1}, {"status": ["COMPLETED"]}],
)
def test_a_status_missing_or_of_the_wrong_type_is_neither_success_nor_failure(body: object) -> None:
    assert isinstance(polled(reply(200, body)), Unavailable)


def test_a_422_without_a_terminal_body_is_an_ordinary_error() -> None:
    assert isinstance(polled(error(422)), Unavailable)


@pytest.mark.parametrize("status", [500, 502, 400, 403, 404])
def test_a_terminal_word_under_an_error_is_not_believed(status: int) -> None:
    for word in ("COMPLETED", "FAILED"):
        assert not isinstance(polled(reply(status, {"status": word})), Completed | Failed)


READING = [
    (error(401), Unauthorized),
    (error(404), NotFound),
    (error(410), NotFound),
    (reply(429), Throttled),
    (reply(301, HTML), WrongContract),
    (reply(307), WrongContract),
    (reply(405, HTML), WrongContract),
    (error(500), Unavailable),
    (reply(502, HTML), Unavailable),
    (error(403), Unavailable),
    (error(406), Unavailable),
    (reply(200, HTML), Unavailable),
    (LOST, Unavailable),
    (BAD_CERTIFICATE, WrongContract),
]


@pytest.mark.parametrize(("answer", "kind"), READING)
def test_a_poll_and_a_fetch_judge_errors_alike(answer: Reply | NoReply, kind: type) -> None:
    assert isinstance(polled(answer), kind)
    assert isinstance(fetched(answer), kind)


def test_a_sick_server_is_told_from_an_unreachable_one() -> None:
    assert [polled(answer) for answer in (LOST, NOT_SENT)] == [
        Unavailable("no answer in time", reached=True),
        Unavailable("refused", reached=False),
    ]


# --- fetch ----------------------------------------------------------------------------------------


def test_a_result_keeps_its_whole_body() -> None:
    body = {
        "status": "COMPLETED",
        "output": URL,
        "video": {"url": URL, "content_type": "video/mp4", "file_size": "2831155"},
        "metrics": {"cost": 4.48},
    }
    verdict = fetched(reply(200, body))
    assert isinstance(verdict, Result)
    assert (verdict.output, verdict.urls, verdict.bytes_expected, verdict.content_type) == (
        body,
        (URL,),
        2831155,
        "video/mp4",
    )
    assert verdict.metrics.cost_usd == 4.48


def test_a_result_without_a_url_is_a_result_all_the_same() -> None:
    verdict = fetched(reply(200, {"status": "COMPLETED", "output": "text"}))
    assert isinstance(verdict, Result)
    assert verdict.urls == ()


def test_a_result_without_a_status_is_one_if_it_names_a_file() -> None:
    assert isinstance(fetched(reply(200, {"output": URL})), Result)
    assert isinstance(fetched(reply(200, {"output": "text"})), NotReady)


@pytest.mark.parametrize("word", ["PROCESSING", "QUEUED", "FINALIZING"])
def test_a_result_that_says_it_is_not_done_is_not_even_if_it_names_files(word: str) -> None:
    assert isinstance(fetched(reply(200, {"status": word, "image": {"url": "https://a.example/input.png"}})), NotReady)


@pytest.mark.parametrize("status", [200, 422])
def test_a_failure_may_show_only_at_the_result(status: int) -> None:
    assert isinstance(fetched(reply(status, {"status": "FAILED", "error": "x"})), Failed)
