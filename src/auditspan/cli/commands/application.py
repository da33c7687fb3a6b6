"""The target of `--app` and of `flask audit`: the trail of an application."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from sqlalchemy import Engine, MetaData, inspect
from sqlalchemy.orm import Session

from auditspan.cli.commands.console import Failure
from auditspan.cli.commands.named import load_named
from auditspan.cli.commands.target import ACTOR, Schema, Target
from auditspan.context import audit_context
from auditspan.errors import AuditConfigError
from auditspan.format import MacKey
from auditspan.storage import is_missing_file
from auditspan.trail import AuditTrail
from auditspan.trail.settings import mac_keys, require_guarded, settings_from
from auditspan.verify import metadata_of


class ApplicationTarget(Target):
    """Trail of an application.

    Args:
        trail: the trail.
        app: its Flask application, whose `config["AUDITSPAN_…"]` are settings; None without Flask.
        bind: the bind of Flask-SQLAlchemy in whose database the trail is.
        command: the command line that leads to this application, for messages.

    Raises:
        Failure: the application has no such bind.
    """

    def __init__(
        self,
        trail: AuditTrail,
        *,
        app: Any = None,  # noqa: ANN401 (a Flask application)
        bind: str | None = None,
        command: str,
    ) -> None:
        self._app = app
        self._bind = bind
        self.command = command if bind is None else f"{command} --bind {bind}"
        self.settings = settings_from(app.config if app is not None else {})
        if bind is not None:
            trail = self._at(trail, bind)
            self.settings = self.settings.for_bind(bind)
        self._trail = trail
        self.metadata: MetaData = trail.tables.event.metadata

    @property
    def is_embedded(self) -> bool:
        """True if the database is a SQLite file."""
        with self.opened_engine() as engine:
            return engine.url.get_backend_name() == "sqlite"

    @property
    def creates_keys(self) -> bool:
        """True if missing keys are created: in development."""
        with self.opened_engine() as engine:
            return self.settings.is_development(engine)

    @contextmanager
    def opened_engine(self) -> Iterator[Engine]:
        """Open the application's engine, or a synchronous one for the same database."""
        with self._context(), self._trail.opened_engine() as engine:
            yield engine

    def schema(self, engine: Engine) -> Schema:
        """Return whether the audit tables exist."""
        missing = self._missing_tables(engine)
        if not missing:
            return Schema(is_current=True, sentence="The audit tables exist.")
        names = ", ".join(missing)
        sentence = f"The database has no table {names}: run `{self.command} init`, or migrate."
        return Schema(is_current=False, sentence=sentence)

    @contextmanager
    def writing(self) -> Iterator[tuple[AuditTrail, Session]]:
        """Open a transaction, with the command as actor."""
        with self.acting() as (trail, session), session.begin():
            yield trail, session

    @contextmanager
    def acting(self) -> Iterator[tuple[AuditTrail, Session]]:
        """Open a session without a transaction, with the command as actor."""
        with self._context(), audit_context(actor=ACTOR), self._trail.new_session() as session:
            yield self._trail, session

    def models(self) -> Sequence[MetaData]:
        """Return the metadata of the models: with Flask-SQLAlchemy, of all binds."""
        has_models = self._bind is None and "sqlalchemy" in getattr(self._app, "extensions", {})
        return metadata_of(self._app if has_models else self._trail)

    def reviewed_models(self) -> Sequence[MetaData]:
        """Return the metadata of the models."""
        return self.models()

    def mac_keys(self) -> Sequence[MacKey]:
        """Return the trail's own key, and those of the key file."""
        return mac_keys(self.settings, self._trail.mac_key)

    def require_guarded(self, engine: Engine, say: Callable[[str], None]) -> None:
        """Refuse a database that does not guard the trail; in development its owner may connect.

        Raises:
            UnprotectedTrailError: it does not, and the settings do not allow that.
        """
        tolerated: Sequence[Any] = ["role"] if self.creates_keys else []
        require_guarded(engine, self.tables, self.settings, say=say, tolerated=tolerated)

    def _at(self, trail: AuditTrail, bind: str) -> AuditTrail:
        with self._context():
            db: Any = getattr(self._app, "extensions", {}).get("sqlalchemy")
            engines = db.engines if db is not None else {}
            if bind not in engines:
                known = ", ".join(name for name in engines if name) or "none"
                raise Failure(f"--bind {bind}: the application has no such bind; it has {known}.")
            return trail.for_database(engines[bind], db.metadatas[bind])

    def _missing_tables(self, engine: Engine) -> list[str]:
        if is_missing_file(engine.url):  # connecting would create it
            return [self.tables.event.name]
        with engine.connect() as connection:
            found = inspect(connection)
            return [
                table.name
                for table in (
                    *self.tables.append_only,
                    *self.tables.of_relays,
                    *self.tables.erasable,
                )
                if not found.has_table(table.name, schema=connection.schema_for_object(table))
            ]

    def _context(self) -> AbstractContextManager[Any]:
        found: AbstractContextManager[Any] = nullcontext()
        return found if self._app is None else self._app.app_context()


def named_application(name: str, bind: str | None) -> ApplicationTarget:
    """Return the application that `--app` names: a trail, a Flask application, or a factory of one.

    Raises:
        Failure: the object does not exist, or has no trail or not this bind.
    """
    found = load_named(name)
    target = _of(found, name, bind) or _of(_made(found, name), name, bind)
    if target is None:
        raise Failure(
            f"--app {name}: a {type(found).__name__} is not an application with a trail: name an "
            "AuditTrail, a Flask application with an AuditExtension, or a factory of one."
        )
    return target


def _of(found: object, name: str, bind: str | None) -> ApplicationTarget | None:
    command = f"auditspan --app {name}"
    if isinstance(found, AuditTrail):
        return ApplicationTarget(found, bind=bind, command=command)
    extensions = getattr(found, "extensions", None)
    extension = extensions.get("auditspan") if isinstance(extensions, dict) else None
    if extension is None:
        return None
    return ApplicationTarget(extension.trail, app=found, bind=bind, command=command)


def _made(found: object, name: str) -> object:
    """Call a factory; return anything else unchanged."""
    if not callable(found) or hasattr(found, "wsgi_app") or isinstance(found, type):
        return found
    try:
        return found()
    except (Failure, AuditConfigError):
        raise
    except Exception as error:
        raise Failure(
            f"--app {name}: the factory failed with {type(error).__name__}: call it without "
            "arguments in Python to see why."
        ) from error
