"""What an object store's refusals mean: one table from the library's errors to sentences with a way out.

The library's own words are not repeated: they run over pages, and hold whole requests.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from engine.media.failures import StoreAwayError, StoreRefusedError

if TYPE_CHECKING:
    from engine.errors import StorageError
    from engine.store_url import StoreUrl

_CODE = re.compile(r"<Code>(?P<code>[A-Za-z0-9]{1,60})</Code>")
_STATUS = re.compile(r"non-2xx status code: (?P<status>\d{3})")
_PASSING_STATUSES = frozenset({408, 409, 425, 429})
"""Statuses below 500 that another try may not meet; 409 is a write that ran into another."""
_PASSING_CODES = frozenset({"RequestTimeout", "SlowDown", "ServerBusy", "OperationAborted", "RequestTimeTooSkewed"})
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|bucket does not exist")
_BAD_KEY = re.compile(r"InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|TokenRefreshRequired")
_ELSEWHERE = re.compile(r"PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint|Received redirect")
# Where the library looks for credentials when nothing else gives it any.
_NO_CREDENTIALS = re.compile(
    r"169\.254\.1(69|70)\.|latest/api/token|latest/meta-data|computeMetadata|metadata/identity"
    r"|[Cc]redential|ApplicationDefault|OAuth|AccessKey"
)
_NETWORK = (
    (re.compile(r"dns error|failed to lookup"), "its name is not known"),
    (re.compile(r"Connection refused|ConnectionRefused"), "the connection was refused"),
    (re.compile(r"certificate|InvalidCertificate"), "its certificate is not trusted"),
    (re.compile(r"kind: Timeout|TimedOut|timed out|operation timed"), "no answer in time"),
    (re.compile(r"kind: Connect"), "no connection could be made"),
)

_SOURCES = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role of this machine (profiles in ~/.aws need boto3)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or 'gcloud auth application-default login'",
    "az": "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY, or a service principal",
}
"""Where credentials come from, by scheme; for hints."""


class Reason(NamedTuple):
    """What an error of the library comes to.

    Attributes:
        passing: whether another try may go better.
        words: the rest of a sentence that begins with the store's URL.
        hint: what to do.
    """

    passing: bool
    words: str
    hint: str


def reason_of(error: Exception, url: StoreUrl) -> Reason:
    """Return what an error means that the library raised on a request to ``url``."""
    text = str(error)
    code, status = _CODE.search(text), _STATUS.search(text)
    number = int(status["status"]) if status else None
    # Only what kind of answer it is, not the request beside it.
    said = code["code"] if code else f"status {number}" if number else type(error).__name__
    credentials = f"give credentials in the environment: {_SOURCES[url.scheme]}"
    if _NO_BUCKET.search(text):
        return Reason(passing=False, words="has no such bucket", hint="create it, or correct storage.root")
    if code and code["code"] in _PASSING_CODES:
        return Reason(passing=True, words=f"is not well ({said})", hint="it is tried again")
    if number is None and _NO_CREDENTIALS.search(text):
        return Reason(passing=False, words="needs credentials, and none were found", hint=credentials)
    if _BAD_KEY.search(text) or number == 401:  # noqa: PLR2004 (unauthorised)
        return Reason(passing=False, words=f"does not know these credentials ({said})", hint=credentials)
    if number == 403 or type(error).__name__ == "PermissionDeniedError":  # noqa: PLR2004 (forbidden)
        hint = "these credentials must be allowed to write, read and list objects under storage.root"
        return Reason(passing=False, words=f"denies access ({said})", hint=hint)
    if _ELSEWHERE.search(text) or (number is not None and 300 <= number < 400):  # noqa: PLR2004 (redirects)
        return Reason(passing=False, words=f"is in another region ({said})", hint="set storage.region to the bucket's")
    if number is not None and number < 500 and number not in _PASSING_STATUSES:  # noqa: PLR2004 (the server's errors)
        return Reason(passing=False, words=f"refuses ({said})", hint="check storage.root and the keys beside it")
    words = next((words for pattern, words in _NETWORK if number is None and pattern.search(text)), said)
    hint = "check the network, and storage.root and storage.endpoint_url"
    return Reason(passing=True, words=f"does not answer ({words})", hint=hint)


def store_error(error: Exception, url: StoreUrl) -> StorageError:
    """Translate an error of the library."""
    reason = reason_of(error, url)
    kind = StoreAwayError if reason.passing else StoreRefusedError
    return kind(f"{url} {reason.words}", hint=f"{reason.hint}; then run the same command again")


def overdue(url: StoreUrl) -> StoreAwayError:
    """Return the error for a request that was given up."""
    return StoreAwayError(
        f"{url} does not answer (no answer in time)", hint="check the network; then run the same command again"
    )
