"""Every way in which the simulated provider can misbehave: one name and one sentence each.

The names are the keys of a scenario's ``[faults]`` table; the value is a probability. What a fault is
drawn for (each POST, each job, each GET, each download) is the part it is grouped under below. How long
or how slow a fault is stands in ``[fault_details]``. Knows nothing of HTTP.
"""

from __future__ import annotations

from enum import StrEnum


class Fault(StrEnum):
    """The name of a misbehaviour; ``FAULTS`` says what each one does."""

    ERROR_500 = "error_500"
    UNAVAILABLE_BEFORE = "unavailable_before"
    BAD_GATEWAY_BEFORE = "bad_gateway_before"
    BAD_GATEWAY_AFTER = "bad_gateway_after"
    GATEWAY_TIMEOUT_BEFORE = "gateway_timeout_before"
    GATEWAY_TIMEOUT_AFTER = "gateway_timeout_after"
    REPLY_LOST_BEFORE = "reply_lost_before"
    REPLY_LOST_AFTER = "reply_lost_after"
    REPLY_TRUNCATED = "reply_truncated"
    REPLY_CUT = "reply_cut"
    REPLY_HTML = "reply_html"
    REPLY_WITHOUT_ID = "reply_without_id"
    REPLY_WITH_OLD_ID = "reply_with_old_id"
    REPLY_DELAYED = "reply_delayed"
    REPLY_SLOW = "reply_slow"
    REPLY_STALLED = "reply_stalled"
    SUBMIT_RATE_LIMITED = "submit_rate_limited"
    SUBMIT_REDIRECT = "submit_redirect"
    FOREIGN_URLS = "foreign_urls"

    STUCK_JOB = "stuck_job"
    FAILED_JOB = "failed_job"
    YOUNG_404 = "young_404"
    RESULT_NOT_READY = "result_not_ready"
    UNKNOWN_STATUS_WORD = "unknown_status_word"

    POLL_ERROR_500 = "poll_error_500"
    POLL_BAD_GATEWAY = "poll_bad_gateway"
    POLL_RATE_LIMITED = "poll_rate_limited"
    POLL_HTML = "poll_html"
    POLL_GARBAGE = "poll_garbage"
    POLL_HUGE = "poll_huge"
    POLL_GZIP_BOMB = "poll_gzip_bomb"
    POLL_DEEP = "poll_deep"
    POLL_WITHOUT_STATUS = "poll_without_status"
    POLL_LOST = "poll_lost"
    POLL_STALLED = "poll_stalled"
    POLL_REDIRECT = "poll_redirect"

    HISTORY_ERROR = "history_error"
    HISTORY_LOST = "history_lost"

    UPLOAD_UNAVAILABLE = "upload_unavailable"
    UPLOAD_RATE_LIMITED = "upload_rate_limited"
    UPLOAD_LOST = "upload_lost"

    DOWNLOAD_TRUNCATED = "download_truncated"
    DOWNLOAD_DROPPED = "download_dropped"
    DOWNLOAD_SLOW = "download_slow"
    DOWNLOAD_STALLED = "download_stalled"
    DOWNLOAD_HTML = "download_html"
    DOWNLOAD_EMPTY = "download_empty"
    DOWNLOAD_ERROR_503 = "download_error_503"
    DOWNLOAD_EXPIRED = "download_expired"
    DOWNLOAD_REDIRECT = "download_redirect"
    DOWNLOAD_NO_LENGTH = "download_no_length"
    DOWNLOAD_ENDLESS = "download_endless"
    DOWNLOAD_RANGE_IGNORED = "download_range_ignored"
    DOWNLOAD_CHANGED = "download_changed"


_SUBMIT_BEFORE: dict[Fault, str] = {
    Fault.ERROR_500: "500 with a JSON error; the job is not accepted",
    Fault.UNAVAILABLE_BEFORE: "503 with an empty body; the job is not accepted",
    Fault.BAD_GATEWAY_BEFORE: "502 HTML page; the job is not accepted",
    Fault.GATEWAY_TIMEOUT_BEFORE: "504 HTML page; the job is not accepted",
    Fault.REPLY_LOST_BEFORE: "the connection is reset; the job is not accepted",
    Fault.SUBMIT_RATE_LIMITED: "429 although the window has room; the job is not accepted",
    Fault.SUBMIT_REDIRECT: "307 to the output host, where a followed redirect leaks the key; not accepted",
}
_SUBMIT_AFTER: dict[Fault, str] = {
    Fault.BAD_GATEWAY_AFTER: "502 HTML page; the job is accepted and will be billed",
    Fault.GATEWAY_TIMEOUT_AFTER: "504 HTML page; the job is accepted and will be billed",
    Fault.REPLY_LOST_AFTER: "the connection is reset without a reply; the job is accepted and will be billed",
    Fault.REPLY_TRUNCATED: "200 whose JSON stops in the middle, with a matching Content-Length; accepted",
    Fault.REPLY_CUT: "200 that promises more bytes than come before the reset; accepted",
    Fault.REPLY_HTML: "200 with an HTML page; accepted",
    Fault.REPLY_WITHOUT_ID: "200 QUEUED without request_id and URLs; accepted",
    Fault.REPLY_WITH_OLD_ID: "the good reply carries the id of the first job ever; accepted",
    Fault.REPLY_STALLED: "no reply for reply_stalled_s, then a reset; accepted",
    Fault.REPLY_SLOW: "the good reply comes byte by byte, one every reply_slow_byte_s; accepted",
    Fault.FOREIGN_URLS: "the good reply's URLs point at the output host; accepted",
    Fault.REPLY_DELAYED: "the reply, whatever it is, comes reply_delayed_s late; accepted",
}
_JOB: dict[Fault, str] = {
    Fault.STUCK_JOB: "the job is PROCESSING for ever and holds no worker",
    Fault.FAILED_JOB: "the job ends FAILED and is not billed",
    Fault.YOUNG_404: "both GETs answer 404 for the first young_404_s",
    Fault.RESULT_NOT_READY: "the result is not there for result_not_ready_s after COMPLETED",
    Fault.UNKNOWN_STATUS_WORD: "the running job's status is a word nobody documented",
}
_POLL: dict[Fault, str] = {
    Fault.POLL_ERROR_500: "a status or result GET answers 500 JSON",
    Fault.POLL_BAD_GATEWAY: "a status or result GET answers a 502 HTML page",
    Fault.POLL_RATE_LIMITED: "a status or result GET answers 429",
    Fault.POLL_HTML: "a status or result GET answers 200 with an HTML page",
    Fault.POLL_GARBAGE: "a status or result GET answers 200 with JSON that stops in the middle",
    Fault.POLL_HUGE: "a status or result GET answers a JSON text of huge_bytes",
    Fault.POLL_GZIP_BOMB: "a status or result GET answers a small gzip that unpacks to huge_bytes",
    Fault.POLL_DEEP: "a status or result GET answers JSON that is nested a hundred thousand deep",
    Fault.POLL_WITHOUT_STATUS: "a status or result GET answers 200 with a status that is no text",
    Fault.POLL_LOST: "a status or result GET ends in a reset",
    Fault.POLL_STALLED: "a status or result GET is not answered for reply_stalled_s, then reset",
    Fault.POLL_REDIRECT: "a status or result GET answers 302 to the output host",
}
_HISTORY: dict[Fault, str] = {
    Fault.HISTORY_ERROR: "a request to the history answers a 503 HTML page",
    Fault.HISTORY_LOST: "a request to the history ends in a reset",
}
_UPLOAD: dict[Fault, str] = {
    Fault.UPLOAD_UNAVAILABLE: "an upload answers a 503 HTML page",
    Fault.UPLOAD_RATE_LIMITED: "an upload answers 429",
    Fault.UPLOAD_LOST: "an upload ends in a reset",
}
_DOWNLOAD: dict[Fault, str] = {
    Fault.DOWNLOAD_TRUNCATED: "the file is cut and its Content-Length agrees: only structure or file_size tells",
    Fault.DOWNLOAD_DROPPED: "the connection is reset in mid-body",
    Fault.DOWNLOAD_SLOW: "the body comes at download_slow_bytes_per_s",
    Fault.DOWNLOAD_STALLED: "half of the body, then nothing for download_stalled_s, then a reset",
    Fault.DOWNLOAD_HTML: "200 with an HTML error page",
    Fault.DOWNLOAD_EMPTY: "200 with zero bytes",
    Fault.DOWNLOAD_ERROR_503: "503 with an XML error",
    Fault.DOWNLOAD_EXPIRED: "the file is gone early (expired_http_status)",
    Fault.DOWNLOAD_REDIRECT: "302, redirect_hops times, then the file (or to redirect_location)",
    Fault.DOWNLOAD_NO_LENGTH: "no Content-Length: the body ends where the connection ends",
    Fault.DOWNLOAD_ENDLESS: "zeros without a length, until the client leaves",
    Fault.DOWNLOAD_RANGE_IGNORED: "a Range is answered with 200 and the whole file",
    Fault.DOWNLOAD_CHANGED: "the file has another content, length and ETag than at the first request",
}

SUBMIT_BEFORE = tuple(_SUBMIT_BEFORE)
SUBMIT_AFTER = tuple(fault for fault in _SUBMIT_AFTER if fault is not Fault.REPLY_DELAYED)
JOB = tuple(_JOB)
POLL = tuple(_POLL)
HISTORY = tuple(_HISTORY)
UPLOAD = tuple(_UPLOAD)

FAULTS: dict[Fault, str] = {**_SUBMIT_BEFORE, **_SUBMIT_AFTER, **_JOB, **_POLL, **_HISTORY, **_UPLOAD, **_DOWNLOAD}
