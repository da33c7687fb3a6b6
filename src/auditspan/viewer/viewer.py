"""The configuration of the viewer, and one page of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import Connection

from auditspan.format import VIEWED, Json
from auditspan.telemetry import TraceLink
from auditspan.telemetry.otlp import TraceFiles
from auditspan.tlog import PublicKey
from auditspan.trail import AuditTrail

Connect: TypeAlias = Callable[[], AbstractContextManager[Connection]]
"""Opens a connection for the queries of one page."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """Account of the person who views, for an application that signs in on the viewer's pages.

    Attributes:
        name: the name that is shown.
        sign_out_url: the URL that a POST signs out at.
        csrf_token: the token that this POST must send as `csrf_token`.
    """

    name: str
    sign_out_url: str
    csrf_token: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """Content of a page, read and ready to be shown.

    Attributes:
        template: the name of its template.
        values: the variables of the template.
        viewed: the metadata of the event that records this view; None if it is not recorded.
        status: the HTTP status.
    """

    template: str
    values: Mapping[str, Any]
    viewed: Mapping[str, Json] | None = None
    status: int = 200


@dataclass(frozen=True, kw_only=True)
class Document:
    """Document to download, read and ready to be sent.

    Attributes:
        name: its file name.
        lines: its content, which is made as it is sent.
        viewed: the metadata of the event that records this view.
        media_type: the type of the content.
    """

    name: str
    lines: Iterable[str]
    viewed: Mapping[str, Json]
    media_type: str = "application/json"


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """Viewer of one trail, as `viewer_blueprint` makes it.

    Attributes:
        trail: the trail; its sessions MUST be synchronous.
        can_view: returns whether the current request may see the trail. It may also raise what
            `flask.abort` raises, such as a redirect to the login. Without it, no request may.
        can_revert: returns whether the current request, which may see the trail, may also revert
            changes of audited models. Without it, no request may. The application needs a
            `SECRET_KEY`: the token of the form is kept in its session.
        connect: opens a connection for reading, by default through a session of the trail.
        trace_files: the files in `collector_files`, the directory of the collector's files, which
            the spans of a trace are read from. An index of them is kept there, or in memory where
            that is not possible.
        trace_link: the links to `trace_url`, the URL of a trace in a tracing backend, with
            `{trace_id}` in the place of its id.
        public_keys: the keys that checkpoints may be signed by; without them, signatures are not
            checked.
        account: returns the account that is shown with a button to sign out, for an application
            that signs in on these pages.
        denials: the action of the events that the preset "Denied" lists; `*` is a wildcard.
    """

    trail: AuditTrail
    can_view: Callable[[], bool] | None
    can_revert: Callable[[], bool] | None
    connect: Connect
    trace_files: TraceFiles | None
    trace_link: TraceLink | None
    public_keys: tuple[PublicKey, ...]
    account: Callable[[], Account | None]
    denials: str

    def may_view(self) -> bool:
        """Return whether the current request may see the trail; without a callable, none may."""
        return self.can_view is not None and bool(self.can_view())

    def may_revert(self) -> bool:
        """Return whether the current request may undo changes; without a callable, none may."""
        return self.can_revert is not None and bool(self.can_revert())

    def record(self, page: Page | Document) -> None:
        """Record that the page is shown.

        Raises:
            AuditWriteError: the view cannot be recorded, so the page MUST NOT be shown.
        """
        if page.viewed is not None:
            self.trail.record_durable(VIEWED, metadata=page.viewed)


def own_sessions(trail: AuditTrail) -> Connect:
    """Return a function that connects through a new session of the trail."""

    @contextmanager
    def connect() -> Iterator[Connection]:
        with trail.new_session() as session:
            yield session.connection()

    return connect
