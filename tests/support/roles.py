"""A database as it is deployed: an owner who does not log in, and roles with the rights they need.

The rights are those of deploy/postgres/grants.sql. The names get an ending of the database's own,
since roles belong to the whole server.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import URL, create_engine, make_url, text

from auditspan_service.database.engine import make_engine
from auditspan_service.database.schema import upgrade
from support.postgres import empty_database

_GRANTS = Path(__file__).parents[2] / "deploy" / "postgres" / "grants.sql"
_ROLES = ("owner", "migrator", "app", "worker", "auditor", "purger")


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A migrated database and those who may connect to it."""

    superuser: URL
    password: str = field(repr=False)

    def role(self, name: str) -> str:
        """The role that is auditspan_NAME in a deployment."""
        return f"auditspan_{name}_{str(self.superuser.database)[-16:]}"

    def url(self, name: str) -> str:
        """The URL with which this role connects."""
        url = self.superuser.set(username=self.role(name), password=self.password)
        return url.render_as_string(hide_password=False)

    def run(self, *statements: str) -> None:
        """Do something as the superuser; `{app}` and the like stand for the roles."""
        engine = create_engine(self.superuser)
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement.format_map(self.names)))
        engine.dispose()

    @property
    def names(self) -> dict[str, str]:
        """The roles by their short names, and the database."""
        return {
            **{name: self.role(name) for name in _ROLES},
            "database": str(self.superuser.database),
        }


@contextmanager
def deployed_database() -> Iterator[Deployed]:
    """A database with this release's schema under deployed rights; dropped afterwards."""
    with empty_database() as url, deployed_at(url) as place:
        yield place


@contextmanager
def deployed_at(url: str) -> Iterator[Deployed]:
    """An empty database, given this release's schema and deployed rights; the roles go again."""
    place = Deployed(superuser=make_url(url), password=secrets.token_hex(16))
    _make_roles(place)
    try:
        _migrate(place)
        place.run(_grants(place))
        yield place
    finally:
        for name in _ROLES:
            place.run(f"REASSIGN OWNED BY {{{name}}} TO CURRENT_USER")
        for name in _ROLES:
            place.run(f"DROP OWNED BY {{{name}}}", f"DROP ROLE {{{name}}}")


def _make_roles(place: Deployed) -> None:
    """As deploy/postgres/roles.sql does, which needs psql and secret files."""
    login = f"LOGIN PASSWORD '{place.password}'"
    place.run(
        "CREATE ROLE {owner} NOLOGIN",
        f"CREATE ROLE {{migrator}} NOINHERIT {login}",
        *(f"CREATE ROLE {{{name}}} {login}" for name in ("app", "worker", "auditor", "purger")),
        "GRANT {owner} TO {migrator}",
        'ALTER ROLE {migrator} IN DATABASE "{database}" SET role = {owner}',
        'ALTER DATABASE "{database}" OWNER TO {owner}',
        'REVOKE ALL ON DATABASE "{database}" FROM PUBLIC',
        'GRANT CONNECT ON DATABASE "{database}" '
        "TO {migrator}, {app}, {worker}, {auditor}, {purger}",
        "ALTER SCHEMA public OWNER TO {owner}",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        "GRANT USAGE ON SCHEMA public TO {app}, {worker}, {auditor}, {purger}",
    )


def _migrate(place: Deployed) -> None:
    engine = make_engine(place.url("migrator"))
    upgrade(engine)
    engine.dispose()


def _grants(place: Deployed) -> str:
    """The deployed file, in one transaction of ours, with the names of these roles."""
    source = _GRANTS.read_text(encoding="utf-8")
    plain = re.sub(r"^(\\.*|BEGIN;|COMMIT;|--.*)$", "", source, flags=re.MULTILINE)
    return re.sub(r"auditspan_(app|worker|auditor|purger)", lambda m: place.role(m[1]), plain)
