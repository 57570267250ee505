"""Change a bucket behind the engine's back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.audit.findings import Kind

if TYPE_CHECKING:
    from tests.store_server import StoreServer


def damage(server: StoreServer, bucket: str, kind: Kind, key: str) -> None:
    """Let an object be missing, too short, or of other bytes."""
    body = server.objects(bucket, key)[key]
    place: dict[str, Any] = {"Bucket": bucket, "Key": key}
    with server.client() as client:
        match kind:
            case Kind.FILE_MISSING:
                client.delete_object(**place)
            case Kind.FILE_TRUNCATED:
                client.put_object(**place, Body=body[:-1])
            case _:
                client.put_object(**place, Body=body[:-1] + bytes([body[-1] ^ 1]))
