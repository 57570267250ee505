"""How a provider is spoken to, as the tables of its description say it: addresses, words, places in its replies.

Every table is plain values with the sentence that documents each. A place is a path into a JSON reply
(``json_path``), and some may be a header of it instead (``header:x-cost``); an address is the rest of a URL behind
``base_url``, with ``{model}`` and ``{id}`` in it. What a reply means under these rules is ``verdicts``'s business.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

HttpStatus: TypeAlias = Annotated[int, Meta(ge=100, le=599)]
HoldSeconds: TypeAlias = Annotated[float, Meta(ge=0, le=86_400)]
AddressOf: TypeAlias = Literal["status", "result", "cancel"]
"""What an address that a submission's reply names is for."""


class AuthTable(msgspec.Struct, frozen=True, kw_only=True):
    """How the key is shown.

    Attributes:
        header: the name of the header that carries the key.
        value: what it holds, with {key} where the key goes: "Bearer {key}".
    """

    header: str = "x-api-key"
    value: str = "{key}"


class SubmitTable(msgspec.Struct, frozen=True, kw_only=True):
    """How a job is submitted, and what the answer says.

    Attributes:
        path: where to, with {model} in it.
        wrap: the key of the body that holds the params; empty if they are the body.
        model_key: the key of the body that names the model; empty if the address does.
        answers: "request" if the reply names a request that is asked about later, "result" if it is the result itself.
        reply_s_max: how long the reply may take, if that is longer than provider.submit_timeout_s.
        id: the place of the request's id in the reply, or its header.
        safe_codes: HTTP statuses with a JSON body that say for certain that nothing was accepted, besides 4xx.
        money_words: parts of words by which an answer with such an HTTP status means that the account is empty, several
            with blanks between if all have to be there; 402 always means it.
    """

    path: str
    wrap: str = ""
    model_key: str = ""
    answers: Literal["request", "result"] = "request"
    reply_s_max: HoldSeconds = 0.0
    id: str = "id"
    safe_codes: tuple[HttpStatus, ...] = ()
    money_words: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)

    @property
    def is_synchronous(self) -> bool:
        """Whether the reply to a submission is its result, and nothing is asked about afterwards."""
        return self.answers == "result"


class StatusTable(msgspec.Struct, frozen=True, kw_only=True):
    """How a request is asked about, and by which words it is working, done or failed.

    Attributes:
        path: where it is asked for, with {id} and perhaps {model}; empty if only the reply to a submission says. It may
            carry a query: "/jobs/{id}?wait=30".
        url_from: the place of that address in the reply to a submission, which is then used if it can be trusted.
        codes: HTTP statuses under which the word counts.
        word: the place of the word.
        done: words that mean success.
        failed: words that mean failure, for good.
        gone: words that mean that the request is not known, or no longer.
        failed_codes: HTTP statuses under which the words of failure count, besides codes.
        failed_if: a place that holds something only if a request that is done has failed.
        wait_s: how long the provider may hold a request for the status of one that runs (a long poll).
    """

    path: str = ""
    url_from: str = ""
    codes: tuple[HttpStatus, ...] = (200, 202)
    word: str = "status"
    done: tuple[str, ...]
    failed: tuple[str, ...]
    gone: tuple[str, ...] = ()
    failed_codes: tuple[HttpStatus, ...] = ()
    failed_if: str = ""
    wait_s: HoldSeconds = 0.0


NOT_ASKED_ABOUT = StatusTable(done=(), failed=())
"""What a description says of the status where nothing is asked about."""


class ResultTable(msgspec.Struct, frozen=True, kw_only=True):
    """Where a result is, and where its files are in it.

    Attributes:
        path: where it is asked for; empty together with url_from if the status of a request that is done holds it, or
            the reply to a submission.
        url_from: the place of that address in the reply to a submission.
        bytes: true if that address answers the one file itself, to those who show the key; the status is the rest of
            the result.
        word: the place of the word of the status in the result; empty if a result has none.
        failed_codes: HTTP statuses that mean failure; together with a word of failure, where results have a word.
        outputs: places of files, in the order in which they are looked at; the first with any counts. "*" is every item
            of a list, or the url of the item. None where the address answers the file itself.
        size: places of the first file's length in bytes.
        content_type: places of the first file's media type.
    """

    path: str = ""
    url_from: str = ""
    bytes: bool = False
    word: str = ""
    failed_codes: tuple[HttpStatus, ...] = ()
    outputs: tuple[str, ...] = ()
    size: tuple[str, ...] = ()
    content_type: tuple[str, ...] = ()

    @property
    def is_in_status(self) -> bool:
        """Whether what is known of a result comes with the status, so that no second request is needed."""
        return self.bytes or not (self.path or self.url_from)


class MetricsTable(msgspec.Struct, frozen=True, kw_only=True):
    """Where a status or result says what it came to: places in it, or headers of it.

    Attributes:
        cost_usd: the place of what was charged.
        inference_s: the place of how long the generation ran.
        queue_s: the place of how long it waited before.
        credits_usd: the place of what the account holds afterwards.
    """

    cost_usd: str = ""
    inference_s: str = ""
    queue_s: str = ""
    credits_usd: str = ""


class UploadTable(msgspec.Struct, frozen=True, kw_only=True):
    """How a local file becomes something that a job can name.

    Attributes:
        wrap: the key of an upload's JSON body that holds the list of files, each as a data URI.
        urls: places of the file's address in the reply to an upload; the first with any counts.
        inline: true if a job may carry the file itself, as a data URI; then nothing is uploaded.
        bytes_max: a larger file is refused before anything is paid.
        life_s: how long an uploaded file can be relied on; afterwards it is uploaded again.
    """

    wrap: str = ""
    urls: tuple[str, ...] = ()
    inline: bool = False
    bytes_max: Annotated[int, Meta(ge=1, le=256 * 1024**2)] = 20 * 1024**2
    life_s: Annotated[float, Meta(gt=0, le=315_360_000)] = 86_400.0


class CreditsTable(msgspec.Struct, frozen=True, kw_only=True):
    """How the account's balance is read, free of charge.

    Attributes:
        path: where it is asked for; empty if the provider does not say.
        amounts: places of amounts in US dollars, which are added up; the first must be there.
    """

    path: str = ""
    amounts: tuple[str, ...] = ()


class CancelTable(msgspec.Struct, frozen=True, kw_only=True):
    """How a request is cancelled, and what that means for its money.

    Attributes:
        path: where that is asked for, with {id} and perhaps {model}; empty together with url_from if nothing can be
            cancelled.
        url_from: the place of that address in the reply to a submission.
        method: the HTTP method.
        final: whether an answer of success means that the request has ended and its record may be gone; without it,
            cancelling is only asked for, and the status tells.
        free: words of a status under which a request that is cancelled is not charged.
    """

    path: str = ""
    url_from: str = ""
    method: Literal["POST", "PUT", "DELETE"] = "POST"
    final: bool = False
    free: tuple[str, ...] = ()

    @property
    def is_offered(self) -> bool:
        """Whether anything can be cancelled."""
        return bool(self.path or self.url_from)
