"""gunicorn's settings for the service: `gunicorn -c python:auditspan_service.server.gunicorn_conf`.

`bind` and `workers` are left to gunicorn, which reads PORT, WEB_CONCURRENCY and GUNICORN_CMD_ARGS.
The application is built in the worker (no preload), so telemetry starts after the fork.
"""

from __future__ import annotations

import gc
import logging
import os
from pathlib import Path
from typing import Any

wsgi_app = "auditspan_service.wsgi:app"
worker_class = "auditspan_service.server.gunicorn_worker.Worker"
threads = 8
timeout = 60  # seconds without a heartbeat of a worker
graceful_timeout = 30  # seconds for the running requests and then the flush of telemetry
keepalive = 5
worker_connections = 512  # open connections; below the usual limit of 1024 files per process

# gunicorn would trust SCRIPT_NAME, PATH_INFO and the scheme of every peer on loopback or a Unix
# socket. Forwarded headers are read by `proxy`, only from AUDITSPAN_TRUSTED_PROXIES.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""

accesslog = None  # the server spans are the access log, with the trace and without query strings
errorlog = "-"

# Both would need a writable home or disk: the image is read-only, and a heartbeat file on a slow
# disk stops the worker.
control_socket_disable = True
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the heartbeat file is made there by mkstemp
worker_tmp_dir = str(_SHARED_MEMORY) if os.access(_SHARED_MEMORY, os.W_OK) else None

_NEW_OBJECTS = 10_000
"""New objects before the garbage collector looks at them; by default 700, less than two requests
make."""


def post_worker_init(worker: Any) -> None:  # noqa: ANN401 (gunicorn's)
    """Send gunicorn's own log lines in this worker to the application's handlers.

    Also records the start, if the settings ask for it, and keeps the garbage collector from
    traversing what was loaded: that took 3 % of the CPU time, and each time stopped every thread
    for 0.1 s.
    """
    from auditspan_service.api.access import record_state  # noqa: PLC0415 (after the fork)
    from auditspan_service.server.gunicorn_worker import NoQuotes

    record_state(worker.wsgi, "service.start")
    gunicorn_logger = logging.getLogger("gunicorn.error")
    gunicorn_logger.addFilter(NoQuotes())
    if logging.getLogger().handlers:
        gunicorn_logger.handlers.clear()
        gunicorn_logger.propagate = True
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])


def worker_exit(_server: object, worker: object) -> None:
    """Flush telemetry after the last request; gunicorn also calls this on SIGTERM.

    The arbiter calls it in its own process, too, for a worker that has exited; there the worker has
    no application.
    """
    from auditspan_service.api.access import record_state  # noqa: PLC0415 (after the fork)

    app = getattr(worker, "wsgi", None)
    if app is None:
        return
    try:
        record_state(app, "service.stop")
    finally:
        telemetry = app.extensions.get("auditspan.telemetry")
        if telemetry is not None:
            telemetry.shutdown()
