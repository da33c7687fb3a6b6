"""A collector that answers as it is told: badly."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

PROTOBUF = "application/x-protobuf"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer; `after` seconds pass first, and only `cut` bytes of the body are sent."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": PROTOBUF})
    after: float = 0.0
    cut: int | None = None
    takes: bool = False  # whether the records are kept


GOOD = Answer(takes=True)
Rule = Callable[[Sequence[str]], Answer]
"""What is answered to a request with these records (events by id, checkpoints by size)."""


def partial(rejected: int) -> Answer:
    """Some records were refused."""
    part = ExportLogsPartialSuccess(rejected_log_records=rejected, error_message="no room for it")
    return Answer(body=ExportLogsServiceResponse(partial_success=part).SerializeToString())


class FaultyCollector:
    """The server; `rule` can be changed at any time.

    Attributes:
        url: the audit receiver.
        rule: what it answers.
        taken: the event ids it has kept, in order, with duplicates.
        checkpoints: the tree sizes it has kept.
        requests: the moments of all requests.
        closing: set when whoever still waits for an answer gets none.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.taken: list[str] = []
        self.checkpoints: list[int] = []
        self.requests: list[float] = []
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/audit"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        """Answer no more."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, payload: bytes) -> Answer:
        """Take in a request."""
        self.requests.append(time.monotonic())
        ids, sizes = _read(payload)
        answer = self.rule(ids)
        if answer.takes:
            self.taken += ids
            self.checkpoints += sizes
        return answer

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                payload = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    payload = gzip.decompress(payload)
                answer = collector.answer(payload)
                if collector.closing.wait(answer.after):
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if answer.status == 204:
                    return
                self.wfile.write(answer.body[: answer.cut])
                if answer.cut is not None:
                    self.close_connection = True

            def do_GET(self) -> None:
                self.do_POST()  # a redirect that was followed

            def log_message(self, *_: object) -> None:
                """Nothing."""

        return Handler


def _read(payload: bytes) -> tuple[list[str], list[int]]:
    ids, sizes = [], []
    for resource in ExportLogsServiceRequest.FromString(payload).resource_logs:
        for scope in resource.scope_logs:
            for record in scope.log_records:
                attributes = {one.key: one.value for one in record.attributes}
                if "audit.record.id" in attributes:
                    ids.append(attributes["audit.record.id"].string_value)
                else:
                    sizes.append(attributes["audit.tree.size"].int_value)
    return ids, sizes


@contextmanager
def faulty_collector(rule: Rule) -> Iterator[FaultyCollector]:
    """A collector with this rule."""
    collector = FaultyCollector(rule)
    try:
        yield collector
    finally:
        collector.close()
