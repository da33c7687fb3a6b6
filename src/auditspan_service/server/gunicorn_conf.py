"""gunicorn's settings for the service: `gunicorn -c python:auditspan_service.server.gunicorn_conf`.

`bind` and `workers` are left to gunicorn, which reads PORT, WEB_CONCURRENCY and GUNICORN_CMD_ARGS.
The application is built in the worker (no preload), so telemetry starts after the fork.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

wsgi_app = "auditspan_service.wsgi:app"
worker_class = "auditspan_service.server.gunicorn_worker.Worker"
threads = 8
timeout = 60  # seconds without a sign of life from a worker
graceful_timeout = 30  # seconds for the running requests and, after them, the flush of telemetry
keepalive = 5
worker_connections = 512  # open ones; below the usual limit of 1024 files of a process

# gunicorn would believe SCRIPT_NAME, PATH_INFO and the scheme of every peer on loopback or a Unix
# socket. Forwarded headers are read by `proxy`, from AUDITSPAN_TRUSTED_PROXIES alone.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""

accesslog = None  # the server spans are the access log, with the trace and without query strings
errorlog = "-"

# Both would need a writable home or disk: the image is read-only, and a slow disk under the
# heartbeat file stops the worker.
control_socket_disable = True
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the heartbeat file is made there by mkstemp
worker_tmp_dir = str(_SHARED_MEMORY) if os.access(_SHARED_MEMORY, os.W_OK) else None


def post_worker_init(_worker: object) -> None:
    """Let gunicorn's own lines in this worker go where the application's go."""
    from auditspan_service.server.gunicorn_worker import NoQuotes  # noqa: PLC0415 (needs gunicorn)

    gunicorn_logger = logging.getLogger("gunicorn.error")
    gunicorn_logger.addFilter(NoQuotes())
    if logging.getLogger().handlers:
        gunicorn_logger.handlers.clear()
        gunicorn_logger.propagate = True


def worker_exit(_server: object, worker: object) -> None:
    """Flush telemetry when the last request is served; gunicorn calls it on SIGTERM too.

    The arbiter also calls it in its own process, for a worker that is gone and had no application
    here.
    """
    app = getattr(worker, "wsgi", None)
    telemetry = getattr(app, "extensions", {}).get("auditspan.telemetry")
    if telemetry is not None:
        telemetry.shutdown()
