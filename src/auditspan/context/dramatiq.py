"""Dramatiq: a middleware that carries the actor and the trace into actors' messages.

broker.add_middleware(AuditMiddleware())
"""

from __future__ import annotations

from contextlib import ExitStack

from dramatiq import Broker, Message, MessageProxy, Middleware

from auditspan.context.carried import HEADER, received, sent


class AuditMiddleware(Middleware):
    """Middleware that carries the actor and the trace from the sender of a message to its actor."""

    def __init__(self) -> None:
        self._running: dict[str, ExitStack] = {}

    def before_enqueue(self, _broker: Broker, message: Message[object], _delay: int | None) -> None:
        """Add the context to a new message; one that is sent again keeps its own."""
        if HEADER not in message.options:
            message.options[HEADER] = sent()

    def before_process_message(self, _broker: Broker, message: MessageProxy) -> None:
        """Enter the context of the message."""
        self._running[message.message_id] = opened = ExitStack()
        opened.enter_context(received(message.options.get(HEADER), message.actor_name))

    def after_process_message(
        self,
        _broker: Broker,
        message: MessageProxy,
        *,
        result: object = None,  # noqa: ARG002 (Dramatiq's)
        exception: BaseException | None = None,  # noqa: ARG002
    ) -> None:
        """Leave the context."""
        if opened := self._running.pop(message.message_id, None):
            opened.close()

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """Leave the context."""
        self.after_process_message(broker, message)
