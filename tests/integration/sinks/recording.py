"""An HTTP server that keeps the requests it gets, and may be used as a proxy."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from integration.sinks.faulty import PROTOBUF


@dataclass(frozen=True)
class Request:
    """A request: its target, its headers in small letters, its body."""

    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Recorder:
    """The server's address and what it got."""

    url: str
    requests: list[Request] = field(default_factory=list)


@contextmanager
def recorder(status: int = 200, content: bytes = b"") -> Iterator[Recorder]:
    """A server that acknowledges everything, unless another answer is given."""
    found = Recorder("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.requests.append(Request(self.path, headers, body))
            self.send_response(status)
            self.send_header("Content-Type", PROTOBUF)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
