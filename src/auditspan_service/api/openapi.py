"""Description of the API (OpenAPI 3.1), generated from its routes and models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from flask import Blueprint, Flask, Response, current_app, jsonify, render_template
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from werkzeug.routing import Rule

from auditspan_service.api.auth import API_PREFIX, required_scope
from auditspan_service.api.documents import EXAMPLE_ID, Problem
from auditspan_service.api.links import links_of
from auditspan_service.api.operations import OPERATIONS, Operation
from auditspan_service.api.problems import MEDIA_TYPE

_JSON = "application/json"
_SCHEMAS = "#/components/schemas/{model}"
_EVERYWHERE = (400, 401, 403, 429, 503)
"""The statuses of problems that every route of the API can have."""

_ARGUMENT = re.compile(r"<(?:\w+:)?(\w+)>")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"

openapi = Blueprint("openapi", __name__)


@openapi.get("/openapi.json")
def document() -> Response:
    """Return the description of the API."""
    return jsonify(describe(current_app))


@openapi.get("/docs")
def page() -> Response:
    """Return the description as a page, which loads nothing else."""
    html = render_template("api_docs.html", api=describe(current_app))
    return Response(html, headers={"Content-Security-Policy": _POLICY})


def describe(app: Flask) -> dict[str, Any]:
    """Return the description of an application's API."""
    refs, schemas = _schemas()
    paths: dict[str, dict[str, Any]] = {}
    for rule, method, operation in _routes(app):
        path = paths.setdefault(_ARGUMENT.sub(r"{\1}", rule.rule), {})
        path[method.lower()] = _operation(app, rule, operation, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "auditspan",
            "version": version("auditspan"),
            "summary": "A verifiable audit trail",
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _routes(app: Flask) -> Iterator[tuple[Rule, str, Operation]]:
    for rule in sorted(app.url_map.iter_rules(), key=lambda one: (one.rule, one.endpoint)):
        operation = OPERATIONS.get(rule.endpoint)
        if operation is not None:
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield rule, method, operation


def _operation(
    app: Flask, rule: Rule, operation: Operation, refs: dict[type[BaseModel], Any]
) -> dict[str, Any]:
    scope = required_scope(app, rule.endpoint)
    docstring = (app.view_functions[rule.endpoint].__doc__ or "").strip()
    found: dict[str, Any] = {
        "operationId": rule.endpoint,
        "summary": docstring.partition("\n")[0],
        "parameters": [*_in_path(rule), *_in_query(operation), *_in_headers(operation)],
        "responses": _responses(rule, operation, refs),
    }
    if scope is not None:
        found["description"] = f"Requires the scope `{scope}`."
        found["security"] = [{"key": []}]
    if operation.body is not None:
        media = {"schema": refs[operation.body], "example": operation.example}
        types = (_JSON, *operation.media_types)
        found["requestBody"] = {"required": True, "content": dict.fromkeys(types, media)}
    return found


def _in_path(rule: Rule) -> Iterator[dict[str, Any]]:
    for name in _ARGUMENT.findall(rule.rule):
        schema = {"type": "string", "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _in_query(operation: Operation) -> Iterator[dict[str, Any]]:
    if operation.query is None:
        return
    for name, schema in operation.query.model_json_schema()["properties"].items():
        alternatives = schema.pop("anyOf", [{}])
        plain = {**schema, **alternatives[0]}  # the other is null: the parameter may be left out
        plain = {key: value for key, value in plain.items() if value is not None}
        yield {
            "name": name,
            "in": "query",
            "description": plain.pop("description"),
            "schema": {key: plain[key] for key in plain if key != "title"},
        }


def _in_headers(operation: Operation) -> Iterator[dict[str, Any]]:
    for name, description in (operation.headers or {}).items():
        yield {
            "name": name,
            "in": "header",
            "required": name in operation.requires,
            "description": description,
            "schema": {"type": "string"},
            "example": EXAMPLE_ID if name == "Idempotency-Key" else '"1"',
        }


def _responses(
    rule: Rule, operation: Operation, refs: dict[type[BaseModel], Any]
) -> dict[str, Any]:
    common = _EVERYWHERE if rule.rule.startswith(API_PREFIX) else ()
    errors = {MEDIA_TYPE: _media(Problem, refs)}
    if operation.error is not None:
        errors[_JSON] = _media(operation.error, refs)
    found: dict[str, Any] = {
        str(status): {"description": HTTPStatus(status).phrase, "content": errors}
        for status in sorted({*operation.problems, *common})
    }
    for status, model in operation.returns.items():
        found[str(status)] = {"description": HTTPStatus(status).phrase}
        if model is not None:
            found[str(status)]["content"] = {operation.media_type: _media(model, refs)}
            if links := links_of(rule.endpoint):
                found[str(status)]["links"] = links
    return dict(sorted(found.items()))


def _media(model: type[BaseModel], refs: dict[type[BaseModel], Any]) -> dict[str, Any]:
    return {"schema": refs[model], "example": getattr(model, "EXAMPLE", None)}


def _schemas() -> tuple[dict[type[BaseModel], Any], dict[str, Any]]:
    """Return a reference to the schema of each model, and all schemas by name."""
    models: dict[type[BaseModel], None] = {Problem: None} | dict.fromkeys(_models())
    refs, schemas = models_json_schema(
        [(model, "validation") for model in models], ref_template=_SCHEMAS
    )
    return {model: refs[model, "validation"] for model in models}, schemas["$defs"]


def _models() -> Iterator[type[BaseModel]]:
    for operation in OPERATIONS.values():
        named = (*operation.returns.values(), operation.body, operation.error)
        yield from (model for model in named if model is not None)
