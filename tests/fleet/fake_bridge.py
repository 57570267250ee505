"""Stands in for the bridge: speaks its protocol, has two workers, and misbehaves as a URL asks it to.

``http://host/WORD``: ``film`` is stored; ``gone``, ``unreachable`` fail; ``full`` and ``elsewhere`` are a worker's
storage; ``silence`` is never answered; ``death`` ends the process, ``nonsense`` garbles its next line, ``worker-death``
ends one worker. An argument names how it begins: ``ready`` by default, ``no-token``, ``refused``, ``silent``.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

FILM = b"film"


def say(**event: object) -> None:
    print(json.dumps(event), flush=True)


def begin(manner: str, media: Path) -> bool:
    """Say how the fleet is; return whether there is one."""
    (media / f"environment-{os.getpid()}").write_text(json.dumps(dict(os.environ)))
    if manner == "no-token":
        say(type="unusable", cause="token", message="the cluster asks for a token, and ours is missing or another")
        return False
    say(type="opened", ray="2.60.0", python="3.11.7", secured=True, workers=2)
    if manner == "refused":
        say(type="refused", worker="b", name="second (10.0.0.2)", cause="storage", message="it is another disk")
    for worker in ("a",) if manner == "refused" else ("a", "b"):
        say(type="joined", worker=worker, name=worker)
    return True


def fetch(order: dict[str, object], opened: dict[str, object]) -> None:
    word, number = str(order["url"]).rpartition("/")[2], order["id"]
    match word:
        case "film" | "elsewhere":
            name = f"{order['name']}.mp4"
            if word == "film":
                Path(str(opened["media_dir"]), name).write_bytes(FILM)
            file = {
                "path": f"{opened['path_prefix']}/{name}",
                "url": order["url"],
                "bytes": len(FILM),
                "sha256": hashlib.sha256(FILM).hexdigest(),
                "content_type": "video/mp4",
                "checks": ["length"],
            }
            say(type="stored", id=number, file=file)
        case "gone":
            say(type="failed", id=number, kind="url_gone", message="it is gone", http_status=410)
        case "unreachable":
            say(type="failed", id=number, kind="unreachable", message="no way there")
        case "full":
            say(type="broken", id=number, reason="no room for media", disk=True)
        case "worker-death":
            say(type="broken", id=number, reason="the worker died")
            say(type="left", worker=order["worker"], reason="it died")
        case "death":
            os._exit(1)
        case "nonsense":
            print("Traceback (most recent call last):", flush=True)


def main() -> None:
    opened = json.loads(sys.stdin.readline())
    manner = sys.argv[1] if len(sys.argv) > 1 else "ready"
    if manner != "silent" and not begin(manner, Path(opened["media_dir"])):
        return
    for line in sys.stdin:
        order = json.loads(line)
        if order["type"] == "fetch":
            fetch(order, opened)
        elif order["type"] == "cancel":
            say(type="broken", id=order["id"], reason="it was called off")


if __name__ == "__main__":
    main()
