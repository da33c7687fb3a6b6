"""RQ: a class of jobs that carries the actor and the trace.

Queue(connection=redis, job_class=AuditedJob)
Worker(["default"], connection=redis, job_class=AuditedJob)
"""

from __future__ import annotations

from typing import Any

from rq.job import Job

from auditspan.context.carried import HEADER, received, sent


class AuditedJob(Job):
    """Job that acts as the actor who enqueued it, in the same trace; for queues and workers."""

    @classmethod
    def create(cls, *args: Any, **options: Any) -> Job:
        """Create a job with the current context in its `meta`."""
        options["meta"] = {HEADER: sent(), **(options.get("meta") or {})}
        return super().create(*args, **options)

    def perform(self) -> object:
        """Run the job in its context."""
        with received(self.meta.get(HEADER), self.func_name or "job"):
            return super().perform()
