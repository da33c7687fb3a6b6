"""An application's own Alembic migrations, generated or written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Column, Connection, Engine, MetaData, Table, Text
from sqlalchemy.orm import Session, sessionmaker

from auditspan import AuditTrail
from auditspan.capture import busy
from auditspan.capture.triggers import staged_tables
from auditspan.storage.tables import audit_tables
from auditspan.storage.triggers import postgresql, sqlite
from auditspan.storage.triggers.live import triggered_tables
from integration.capture.application import KEY, Application

ENVIRONMENT = """
from alembic import context
import auditspan.alembic.autogenerate

given = context.config.attributes
context.configure(target_metadata=given["metadata"], **given["options"])
with context.begin_transaction():
    context.run_migrations()
"""
REVISION = """
from alembic import op
import sqlalchemy as sa

revision = "{number}"
down_revision = {before}


def upgrade() -> None:
{up}


def downgrade() -> None:
{down}
"""


class Migrations:
    """The migrations of one application, in a directory of its own.

    Attributes:
        options: what `env.py` configures besides the metadata.
    """

    def __init__(self, engine: Engine, directory: Path, metadata: MetaData) -> None:
        self.engine = engine
        self.metadata = metadata
        self.options: dict[str, Any] = {}
        self._home = directory / "migrations"
        self._count = 0
        self._config = Config(stdout=StringIO())
        self._config.set_main_option("script_location", str(self._home))
        self._config.config_file_name = str(directory / "alembic.ini")
        command.init(self._config, str(self._home))
        (self._home / "env.py").write_text(ENVIRONMENT)

    @contextmanager
    def _running(self) -> Iterator[Config]:
        with self.engine.connect() as connection:
            self._config.attributes["metadata"] = self.metadata
            self._config.attributes["options"] = {"connection": connection, **self.options}
            yield self._config
            connection.commit()

    def generate(self, metadata: MetaData | None = None) -> str:
        """Generate the next revision for these models, and return its source."""
        self.metadata = metadata or self.metadata
        self._count += 1
        number = f"{self._count:04}"
        with self._running() as config:
            command.revision(config, "generated", autogenerate=True, rev_id=number)
        return (self._home / "versions" / f"{number}_generated.py").read_text()

    def write(self, up: str, down: str = "pass") -> None:
        """Write the next revision by hand."""
        self._count += 1
        source = REVISION.format(
            number=f"{self._count:04}",
            before=repr(f"{self._count - 1:04}") if self._count > 1 else None,
            up=indent(dedent(up).strip(), "    "),
            down=indent(dedent(down).strip(), "    "),
        )
        (self._home / "versions" / f"{self._count:04}_written.py").write_text(source)

    def upgrade(self, revision: str = "head") -> None:
        """Run the revisions that are missing."""
        with self._running() as config:
            command.upgrade(config, revision)

    def downgrade(self, revision: str = "-1") -> None:
        """Run revisions backwards."""
        with self._running() as config:
            command.downgrade(config, revision)

    def check(self) -> None:
        """Fail where a revision is still to be generated."""
        with self._running() as config:
            command.check(config)

    def script(self, dialect: str) -> str:
        """Print the upgrade for a database administrator."""
        buffer = StringIO()
        self._config.attributes["metadata"] = self.metadata
        self._config.attributes["options"] = {
            "dialect_name": dialect,
            "as_sql": True,
            "output_buffer": buffer,
            "dialect_opts": {"paramstyle": "named"},
        }
        command.upgrade(self._config, "head", sql=True)
        return buffer.getvalue()

    def problems(self) -> list[str]:
        """Compare the triggers with the models."""
        with self.engine.connect() as connection, busy(connection):
            of = postgresql if connection.dialect.name == "postgresql" else sqlite
            return [
                problem
                for staged in staged_tables(self.metadata)
                for problem in of.trigger_problems(connection, staged)
            ]

    def triggered(self) -> dict[str, list[str]]:
        """The tables that have triggers, with the columns that these leave out."""
        with self.engine.connect() as connection:
            return {one.name: sorted(one.excluded) for one in triggered_tables(connection)}


def models(*columns: Column[Any], name: str = "word", audit: object = True) -> MetaData:
    """Models with one audited table, and the audit tables."""
    metadata = MetaData()
    Table(name, metadata, *columns, info={"audit": audit} if audit else {})
    audit_tables(metadata)
    return metadata


def under_trail(engine: Engine, metadata: MetaData) -> Application:
    """The application over tables that its migrations make."""
    sessions: sessionmaker[Session] = sessionmaker(engine)
    trail = AuditTrail(sessions, metadata=metadata, mac_key=KEY)
    return Application(engine=engine, metadata=metadata, sessions=sessions, trail=trail)


def text_column(name: str) -> Column[Any]:
    """A column of any text."""
    return Column(name, Text)


def run(connection: Connection, *statements: str) -> None:
    """Execute statements."""
    for statement in statements:
        connection.exec_driver_sql(statement)
