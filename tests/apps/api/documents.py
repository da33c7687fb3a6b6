"""Documents: written one by one, by upsert, and many at once."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from flask import Blueprint, abort, request
from flask.typing import ResponseReturnValue
from sqlalchemy import delete, insert, select

from apps.api.auth import require_client
from apps.api.database import sessions, upsert
from apps.api.models import Counter, Document, now

documents = Blueprint("documents", __name__)


@documents.put("/documents/<path:path>")
def put(path: str) -> ResponseReturnValue:
    """Write a document, whether there is one or not."""
    values = {"id": uuid4(), "client_id": require_client(), "path": path}
    statement = upsert(Document).values(**values, body=request.get_json(), tags=[])
    changed = {"body": statement.excluded.body, "updated_at": now()}
    sessions.execute(
        statement.on_conflict_do_update(index_elements=["client_id", "path"], set_=changed)
    )
    sessions.commit()
    return "", 204


@documents.get("/documents/<path:path>")
def get(path: str) -> ResponseReturnValue:
    """Read a document; who reads is counted."""
    document = _find(require_client(), path)
    shown = _shown(document)
    _count(f"read:{path}")
    return shown


@documents.patch("/documents/<path:path>")
def patch(path: str) -> ResponseReturnValue:
    """Change members of a document and its tags, in place."""
    document = _find(require_client(), path)
    given = request.get_json()
    document.body.update(given.get("body", {}))
    document.tags.extend(given.get("tags", []))
    for name in given.get("remove", []):
        del document.body[name]
    sessions.commit()
    return _shown(document)


@documents.post("/documents")
def add_many() -> ResponseReturnValue:
    """Write many documents in one statement; all or none."""
    client = require_client()
    rows = [{"client_id": client, **given} for given in request.get_json()]
    made = sessions.scalars(insert(Document).returning(Document), rows).all()
    for number, document in enumerate(made):
        document.tags.append(f"batch-{number}")
    sessions.commit()
    return {"ids": [str(document.id) for document in made]}, 201


@documents.delete("/documents")
def delete_before() -> ResponseReturnValue:
    """Delete what was created before a time, which has a zone."""
    before = datetime.fromisoformat(request.args["before"])
    own = delete(Document).where(Document.client_id == require_client())
    gone = sessions.execute(own.where(Document.created_at < before).returning(Document.id)).all()
    sessions.commit()
    return {"deleted": len(gone)}


@documents.get("/counters")
def counters() -> ResponseReturnValue:
    """How often each document was read."""
    found = sessions.scalars(select(Counter).order_by(Counter.name))
    return {counter.name: counter.n for counter in found}


def _find(client: UUID, path: str) -> Document:
    found = sessions.scalar(select(Document).filter_by(client_id=client, path=path))
    return found or abort(404)


def _shown(document: Document) -> dict[str, Any]:
    return {
        "body": dict(document.body),
        "tags": list(document.tags),
        "updated": document.updated_at is not None,
    }


def _count(name: str) -> None:
    statement = upsert(Counter).values(name=name, n=1)
    more = {"n": Counter.n + 1}
    sessions.execute(statement.on_conflict_do_update(index_elements=["name"], set_=more))
    sessions.commit()
