"""A port of this machine's own that leads to another machine: ``python -m tests.fleet.relay HOST PORT``.

The engine sends its key in clear text to the loopback address only, so the coordinator asks the provider through this.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress

CHUNK_BYTES = 64 * 1024


async def relay(host: str, port: int) -> None:
    """Pass on whatever comes until ended, and say where first."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_connection(host, port)
        await asyncio.gather(pump(reader, to_there), pump(there, writer))

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0)
    ours = server.sockets[0].getsockname()[1]
    print(json.dumps({"base_url": f"http://127.0.0.1:{ours}"}), flush=True)
    await server.serve_forever()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry one direction to its end."""
    with suppress(ConnectionError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(relay(sys.argv[1], int(sys.argv[2])))
