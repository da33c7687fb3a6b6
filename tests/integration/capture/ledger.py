"""A second record of every change, kept by plain triggers that have nothing to do with auditspan.

Each changed row of a table leaves the table's name, the verb and the actor in `ledger`, in the
transaction of the change. What the trail has besides, it has invented; what it lacks, it has
missed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeAlias

from sqlalchemy import Connection, Engine, Table, event, text

Entries: TypeAlias = "Counter[tuple[str, str, str]]"
"""How often each table, verb and actor occurs."""

_VERBS = {"INSERT": "create", "UPDATE": "update", "DELETE": "delete"}
_POSTGRESQL = """
CREATE FUNCTION enter() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger SELECT TG_TABLE_NAME, TG_ARGV[0],
        coalesce(nullif(current_setting('ledger.actor', true), ''), 'database');
    RETURN NULL;
END $$
"""


class Ledger:
    """The ledger of a database.

    Attributes:
        actor: who is acting now, as an audit body names actors; on PostgreSQL, see `act`.
    """

    def __init__(self, engine: Engine, tables: Iterable[Table]) -> None:
        self.actor = "database"
        self._engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        if self._is_sqlite:
            event.listen(engine, "connect", self._teach)
            engine.dispose()
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE ledger (name TEXT, verb TEXT, actor TEXT)")
            if not self._is_sqlite:
                connection.exec_driver_sql(_POSTGRESQL)
            for table in tables:
                for operation, verb in _VERBS.items():
                    connection.exec_driver_sql(self._trigger(table, operation, verb))

    def act(self, connection: Connection) -> None:
        """Tell PostgreSQL who is acting until the transaction, or the savepoint, is rolled back."""
        if not self._is_sqlite:
            name = {"name": self.actor}
            connection.execute(text("SELECT set_config('ledger.actor', :name, true)"), name)

    def take(self) -> Entries:
        """What has been committed since the last call."""
        with self._engine.begin() as connection:
            rows = connection.exec_driver_sql("SELECT name, verb, actor FROM ledger").all()
            connection.exec_driver_sql("DELETE FROM ledger")
        return Counter((row.name, row.verb, row.actor) for row in rows)

    def _teach(self, connection: Any, _record: object) -> None:
        connection.create_function("acting", 0, lambda: self.actor)

    def _trigger(self, table: Table, operation: str, verb: str) -> str:
        name = f"ledger_{table.name}_{verb}"
        when = self._when(table) if operation == "UPDATE" else ""
        if not self._is_sqlite:
            return (
                f"CREATE TRIGGER {name} AFTER {operation} ON {table.name} FOR EACH ROW {when}"
                f" EXECUTE FUNCTION enter('{verb}')"
            )
        return (
            f"CREATE TRIGGER {name} AFTER {operation} ON {table.name} FOR EACH ROW {when}"  # noqa: S608
            f" BEGIN INSERT INTO ledger VALUES ('{table.name}', '{verb}', acting()); END"
        )

    def _when(self, table: Table) -> str:
        if not self._is_sqlite:
            return "WHEN (OLD IS DISTINCT FROM NEW)"
        differ = (f'OLD."{c.name}" IS NOT NEW."{c.name}"' for c in table.columns)
        return f"WHEN {' OR '.join(differ)}"
