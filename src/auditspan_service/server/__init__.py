"""How the service is served: gunicorn, and all in one process."""

from __future__ import annotations
