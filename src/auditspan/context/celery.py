"""Celery: signal handlers that carry the actor and the trace into tasks.

from auditspan.context.celery import install

install()  # where the tasks are defined, so that the sender and the worker both run it
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from celery.signals import before_task_publish, task_postrun, task_prerun

from auditspan.context.carried import HEADER, received, sent

_running: dict[str, ExitStack] = {}
"""The contexts of the tasks that run in this process, by the id of the task."""


def install() -> None:
    """Carry the actor and the trace into the tasks of this process; safe to call again.

    A task that runs eagerly runs in the context of its caller, as any function does.
    """
    for signal, handler in (
        (before_task_publish, _send),
        (task_prerun, _begin),
        (task_postrun, _end),
    ):
        signal.connect(handler, weak=False, dispatch_uid=f"{__name__}.{handler.__name__}")


def _send(headers: dict[str, Any], **_others: object) -> None:
    headers[HEADER] = sent()


def _begin(task_id: str, task: Any, **_others: object) -> None:  # noqa: ANN401 (Celery's)
    if task.request.is_eager:
        return
    _running[task_id] = opened = ExitStack()
    opened.enter_context(received(getattr(task.request, HEADER, None), task.name))


def _end(task_id: str, **_others: object) -> None:
    if opened := _running.pop(task_id, None):
        opened.close()
