"""Task queues: the actor and the trace of the caller, carried into the task.

auditspan.integrations.celery      signals
auditspan.integrations.rq          a class of jobs
auditspan.integrations.dramatiq    a middleware

Each is imported by applications that use the queue, and none is part of the base installation. A
task acts as the actor that sent it. A task that was sent without an actor, such as a scheduled one,
acts as `Actor.system` with its own name. Everyone who can send messages to the queue can name an
actor, as they can choose the task and its arguments.
"""

from __future__ import annotations
