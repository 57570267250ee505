"""What each refusal of a store means; the texts are those of the library, cut to what tells them apart."""

from __future__ import annotations

import pytest
from obstore.exceptions import GenericError, PermissionDeniedError, UnauthenticatedError

from engine.media.failures import StoreAwayError, StoreRefusedError
from engine.media.objects.answers import reason_of, store_error
from engine.store_url import StoreUrl

URL = StoreUrl("s3", "night", "media")
ASKED = "Error performing PUT https://night.example.com/clip.mp4 in 9ms"


def status(number: int, code: str = "") -> str:
    body = f"<Error><Code>{code}</Code><Message>says so</Message></Error>" if code else ""
    return f"{ASKED} - Server returned non-2xx status code: {number} Words: {body}"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(status(404, "NoSuchBucket")), "has no such bucket"),
        (FileNotFoundError(status(404, "ContainerNotFound")), "has no such bucket"),
        (GenericError(f"{status(404)} The specified bucket does not exist"), "has no such bucket"),
        (PermissionDeniedError(status(403, "AccessDenied")), "denies access (AccessDenied)"),
        (PermissionDeniedError(status(403)), "denies access (status 403)"),
        (PermissionDeniedError(status(403, "InvalidAccessKeyId")), "does not know these credentials (Invalid"),
        (GenericError(status(400, "ExpiredToken")), "does not know these credentials (ExpiredToken)"),
        (UnauthenticatedError(status(401)), "does not know these credentials (status 401)"),
        (GenericError(status(301, "PermanentRedirect")), "is in another region"),
        (GenericError(status(400, "AuthorizationHeaderMalformed")), "is in another region"),
        (GenericError(status(400, "EntityTooLarge")), "refuses (EntityTooLarge)"),
        (GenericError("Error performing PUT http://169.254.169.254/latest/api/token in 1s"), "needs credentials"),
        (GenericError("Error performing GET http://metadata.google.internal/computeMetadata/v1"), "needs credentials"),
    ],
)
def test_what_another_try_would_not_change_is_refused(error: Exception, words: str) -> None:
    refused = store_error(error, URL)
    assert isinstance(refused, StoreRefusedError)
    assert str(refused).startswith(f"s3://night/media {words}")
    assert refused.hint


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (GenericError(status(503, "SlowDown")), "is not well (SlowDown)"),
        (GenericError(status(500)), "does not answer (status 500)"),
        (GenericError(status(429)), "does not answer (status 429)"),
        (PermissionDeniedError(status(403, "RequestTimeTooSkewed")), "is not well (RequestTimeTooSkewed)"),
        (GenericError(f"{ASKED} - HTTP error: source: Connection refused"), "the connection was refused"),
        (GenericError(f"{ASKED} - HTTP error: source: dns error: no such host"), "its name is not known"),
        (GenericError(f"{ASKED} - HTTP error: kind: Timeout"), "no answer in time"),
        (GenericError(f"{ASKED} - HTTP error: invalid peer certificate"), "its certificate is not trusted"),
        (GenericError("something nobody foresaw"), "does not answer (GenericError)"),
    ],
)
def test_what_may_pass_is_tried_again(error: Exception, words: str) -> None:
    away = store_error(error, URL)
    assert isinstance(away, StoreAwayError)
    assert words in str(away)


def test_the_librarys_own_text_is_not_repeated() -> None:
    reason = reason_of(GenericError(f"{status(400, 'Odd')} Authorization: hush-hush"), URL)
    assert "hush" not in reason.words + reason.hint
    assert "example.com" not in reason.words + reason.hint
