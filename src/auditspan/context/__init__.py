"""The audit context, and its way into threads, tasks and processes.

Task queues carry the actor and the trace of the caller into the task:

auditspan.context.celery      signals
auditspan.context.rq          a class of jobs
auditspan.context.dramatiq    a middleware

Each is imported by applications that use the queue, and none is part of the base installation. A
task acts as the actor that sent it. A task that was sent without an actor, such as a scheduled one,
acts as `Actor.system` with its own name. Everyone who can send messages to the queue can name an
actor, as they can choose the task and its arguments.
"""

from __future__ import annotations

from auditspan.context.context import (
    AuditContext,
    CarriedContext,
    RequestScope,
    add_scope_source,
    audit_context,
    carry_context,
    carry_trace,
    current_context,
    enter_context,
    opened_context,
)

__all__ = [
    "AuditContext",
    "CarriedContext",
    "RequestScope",
    "add_scope_source",
    "audit_context",
    "carry_context",
    "carry_trace",
    "current_context",
    "enter_context",
    "opened_context",
]
