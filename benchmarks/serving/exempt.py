"""The service as it is, with its models exempt: `gunicorn serving.exempt:app`."""

from __future__ import annotations

from flask import Flask

from auditspan import Exempt
from auditspan_service import models


def exempt() -> Flask:
    """Exempt the models before anything reads what is audited, and create the service."""
    for model in (models.User, models.Role, models.ApiKey):
        setattr(model, "__audit__", Exempt("a benchmark"))  # noqa: B010 (declared as a Policy)
    from auditspan_service.app import create_app  # noqa: PLC0415 (see above)

    return create_app()


app = exempt()
