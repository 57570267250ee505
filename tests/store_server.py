"""An S3-compatible server in a process of its own, on the loopback address, and a client to look into it with."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, Any

import boto3
import botocore.config

from tests.waiting import wait_in_thread_until

if TYPE_CHECKING:
    from collections.abc import Iterator

REGION = "us-east-1"
SERVE = """
import sys
from moto.s3.models import s3_backends
from moto.server import main
for bucket in sys.argv[1].split():
    s3_backends["123456789012"]["aws"].create_bucket(bucket, "us-east-1")
main(sys.argv[2:])
"""
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "night-shift",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    # Whoever looks for the role of a machine in the cloud must not leave this one.
    "AWS_METADATA_ENDPOINT": "http://127.0.0.1:9",
}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class StoreServer:
    """A server that forgets everything when it is stopped."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def settings(self, root: str) -> list[str]:
        """Return the configuration of a run whose media go to ``root``."""
        return [f"storage.root={root}", f"storage.endpoint_url={self.url}", f"storage.region={REGION}"]

    def start(self, *buckets: str) -> None:
        """Start it, with these buckets from its first answer on."""
        command = [sys.executable, "-c", SERVE, " ".join(buckets), "-H", "127.0.0.1", "-p", str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_in_thread_until(self._answers, description="the object store answers", within_s=30)

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    @contextlib.contextmanager
    def client(self, service: str = "s3") -> Iterator[Any]:
        client = boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
            config=botocore.config.Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
        )
        try:
            yield client
        finally:
            client.close()

    def make_bucket(self, bucket: str) -> None:
        with self.client() as client:
            client.create_bucket(Bucket=bucket)

    def objects(self, bucket: str, prefix: str = "") -> dict[str, bytes]:
        """Return the content of every object under a prefix, by its key."""
        with self.client() as client:
            listed = client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
            return {entry["Key"]: self._content(client, bucket, entry["Key"]) for entry in listed}

    @staticmethod
    def _content(client: Any, bucket: str, key: str) -> bytes:
        with contextlib.closing(client.get_object(Bucket=bucket, Key=key)["Body"]) as body:
            return bytes(body.read())

    def enforce_rights(self, *, enforced: bool) -> None:
        """Let every request need the right to it, or none."""
        after = b"0" if enforced else b"inf"
        plain = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self.url}/moto-api/reset-auth", data=after, headers=plain)
        with urllib.request.urlopen(request) as reply:
            assert reply.status == 200


@contextlib.contextmanager
def store_server(*buckets: str) -> Iterator[StoreServer]:
    """Run a server; it is ended by its id."""
    server = StoreServer()
    server.start(*buckets)
    try:
        yield server
    finally:
        server.stop()
