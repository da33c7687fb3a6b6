"""Serving of the service, with gunicorn or in one process with the worker."""

from __future__ import annotations
