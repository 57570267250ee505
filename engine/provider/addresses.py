"""Where a request is asked about, fetched and cancelled.

The description's own template, or the address that the provider named when it accepted the submission. The key goes
along, so an address that was named is used only if it is the provider's: the origin of ``base_url``, or https on a
host that the description trusts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yarl import URL

from engine.job.model_name import bare_model
from engine.provider.json_path import value_at

if TYPE_CHECKING:
    from engine.provider.contract import AddressOf
    from engine.provider.description import ProviderDescription
    from engine.provider.protocol import Request

ADDRESS_CHARS_MAX = 2_000


def named_addresses(body: dict[str, Any], provider: ProviderDescription) -> dict[str, str]:
    """Return the addresses in the reply to a submission that the description looks for, whoever they belong to."""
    status, result, cancel = provider.status, provider.result, provider.cancel
    places = {"status": status.url_from, "result": result.url_from, "cancel": cancel.url_from}
    found = {name: value_at(body, place) for name, place in places.items() if place}
    return {name: url for name, url in found.items() if isinstance(url, str) and len(url) <= ADDRESS_CHARS_MAX}


def address(provider: ProviderDescription, base_url: str, kind: AddressOf, request: Request) -> str | None:
    """Return where a request is asked about, fetched or cancelled; None if no address of the provider's is known."""
    at = "status" if kind == "result" and provider.result.is_in_status else kind
    return _named_or_built(provider, base_url, at, request)


def content_address(provider: ProviderDescription, base_url: str, request: Request) -> str | None:
    """Return where the file itself is, for those who show the key; None if no address of the provider's is known."""
    return _named_or_built(provider, base_url, "result", request)


def key_headers(provider: ProviderDescription, api_key: str) -> dict[str, str]:
    """Return the headers that a request needs to be let in: those that show the key, and the description's own."""
    return {**provider.headers, provider.auth.header: provider.auth.value.replace("{key}", api_key)}


def _named_or_built(provider: ProviderDescription, base_url: str, kind: AddressOf, request: Request) -> str | None:
    named = request.addresses.get(kind)
    if named and is_trusted(named, base_url, provider):
        return named
    path: str = getattr(provider, kind).path
    return base_url + path.format(id=request.id, model=bare_model(request.model)) if path else None


def is_trusted(url: str, base_url: str, provider: ProviderDescription) -> bool:
    """Whether the key may go there."""
    try:
        asked, base = URL(url, encoded=True), URL(base_url)
        if asked.user or asked.password:
            return False
        if asked.origin() == base.origin():
            return True
    except ValueError:
        return False
    host = (asked.host or "") if asked.is_default_port() else f"{asked.host}:{asked.port}"
    below = (trusted[1:] for trusted in provider.trusted_hosts if trusted.startswith("*."))
    trusted = host in provider.trusted_hosts or any(host.endswith(ending) for ending in below)
    return asked.scheme == "https" and trusted
