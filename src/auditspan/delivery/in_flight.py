"""Batch in flight: it is sent by a thread of its own while the next one is prepared."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextvars import copy_context
from types import TracebackType
from typing import Self

from auditspan.delivery.batch import Batch, Refused, send_all
from auditspan.delivery.sinks import Sink


class InFlight:
    """Sends a batch from the beginning of a `with` block on, which ends when the sending has ended.

    Only one batch is in flight at a time, so the order of the records and of their acknowledgements
    is that of the table.
    """

    def __init__(self, sink: Sink, batch: Batch) -> None:
        self._sink, self._batch = sink, batch
        self._outcome = Future[Refused]()
        run = copy_context().run  # as the caller, it emits no telemetry
        self._thread = threading.Thread(target=run, args=(self._send,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.join()

    def refused(self) -> Refused:
        """Wait for the end; return the items that the sink refuses.

        Raises:
            SinkUnavailableError: as `send_all`.
        """
        return self._outcome.result()

    def _send(self) -> None:
        try:
            self._outcome.set_result(send_all(self._sink, self._batch))
        except BaseException as error:  # noqa: BLE001 (the caller raises it)
            self._outcome.set_exception(error)
