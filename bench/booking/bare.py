"""The limit of shedding: a server of nothing but a loop and a socket, that answers every request with the same 503.

python -m bench.booking.bare PORT
"""

import asyncio
import sys
from typing import cast

import uvloop

from bench.load import HOST

READY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
BODY = b'{"type":"urn:nuanxin:problem:busy","status":503}'
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


class Bare(asyncio.Protocol):
    """The client sends one request at a time and each in one piece, which is looked at no further."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(READY if data.startswith(b"GET /readyz") else BUSY)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Bare, HOST, port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
