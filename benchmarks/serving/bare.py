"""A bare Flask application that writes the same table, with the two instrumentations.

`gunicorn serving.bare:app`; it has no authentication, no validation and no audit.
"""

from __future__ import annotations

import os

from flask import Flask, Response, jsonify, request
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from sqlalchemy.orm import sessionmaker

from auditspan_service.database.engine import make_engine
from auditspan_service.models import User

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)

engine = make_engine(os.environ["AUDITSPAN_DATABASE_URL"])
SQLAlchemyInstrumentor().instrument(engine=engine)
Session = sessionmaker(engine, expire_on_commit=False)

app = Flask(__name__)
FlaskInstrumentor.instrument_app(app)


@app.post("/v1/users")
def create() -> Response:
    """Insert a user."""
    with Session.begin() as session:
        user = User(**request.get_json())
        session.add(user)
    return shown(user, 201)


@app.patch("/v1/users/<int:user_id>")
def change(user_id: int) -> Response:
    """Read a user and update it."""
    with Session.begin() as session:
        user = session.get_one(User, user_id)
        for name, value in request.get_json().items():
            setattr(user, name, value)
    return shown(user, 200)


def shown(user: User, status: int) -> Response:
    """The response."""
    response = jsonify(id=user.id, username=user.username, full_name=user.full_name)
    response.status_code = status
    return response
