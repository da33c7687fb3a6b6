"""Search terms of an event: members of the body that searches find by an index.

On PostgreSQL a function of the body, which cannot fail, returns hashes of the terms, and one GIN
index has them. Two terms may have the same hash, so that a search compares the body as well. A
damaged body has no terms. SQLite searches the text of the body.
"""

from __future__ import annotations

from typing import Literal

from sqlalchemy import Boolean, ColumnElement, Dialect, Table, Text, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from auditspan.format import canonical_json
from auditspan.storage.append_only.trigger import schema_prefix
from auditspan.storage.table_ddl import TableDdl, on_postgresql

FUNCTION = "auditspan_terms"
"""The function of the body; one in each schema with a trail."""

INDEX = "ix_audit_event_terms"
"""The index of the terms, which only PostgreSQL has. Metadata does not contain it, since its
function has to exist before."""

SOURCE = """
DECLARE
    event jsonb := NULL;
BEGIN
    event := body::jsonb;
    RETURN array_remove(
        ARRAY(SELECT hashtext('field:' || name) FROM jsonb_object_keys(event->'changes') AS name)
        || hashtext('label:' || (event->'actor'->>'label'))
        || hashtext('behalf:' || (event->'on_behalf_of'->>'id'))
        || hashtext('behalf:' || (event->'on_behalf_of'->>'label'))
        || hashtext('request:' || (event->'request'->>'id')), NULL);
EXCEPTION WHEN OTHERS THEN
    RETURN '{}';
END
"""

Kind = Literal["field", "label", "behalf", "request"]
_PIECES: dict[Kind, str] = {
    "field": "{}:{{",
    "label": '"label":{}',
    "behalf": "{}",
    "request": '"id":{}',
}
"""Text that the canonical body of every event with this term contains."""


class HasTerm(FunctionElement[bool]):
    """Condition that every event with this term meets, and few others."""

    inherit_cache = True
    type = Boolean()

    def __init__(self, body: ColumnElement[str], kind: Kind, value: str) -> None:
        piece = _PIECES[kind].format(canonical_json(value))
        in_text = body.contains(piece, autoescape=True)
        super().__init__(body, literal(f"{kind}:{value}", Text()), in_text)
        self.in_text = in_text


@compiles(HasTerm, "postgresql")
def _in_index(element: HasTerm, compiler: SQLCompiler, **given: object) -> str:
    column, term, _ = element.clauses
    preparer = compiler.preparer
    schema = preparer.schema_for_object(column.table)
    prefix = f"{preparer.quote_schema(schema)}." if schema else ""
    body, wanted = compiler.process(column, **given), compiler.process(term, **given)
    return f"({prefix}{FUNCTION}({body}) @> ARRAY[hashtext({wanted})])"


@compiles(HasTerm)
def _in_text(element: HasTerm, compiler: SQLCompiler, **given: object) -> str:
    _, _, in_text = element.clauses
    return f"({compiler.process(in_text, **given)})"


def _create(table: Table, dialect: Dialect) -> list[str]:
    prefix = schema_prefix(table, dialect)
    full = dialect.identifier_preparer.format_table(table)
    # A fixed search path, so that no operator can be replaced. The cost keeps the planner from
    # calling it for many rows where the index has few.
    function = (
        f"CREATE OR REPLACE FUNCTION {prefix}{FUNCTION}(body text) RETURNS integer[]"
        " LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000 SET search_path = pg_catalog"
        f" AS $terms${SOURCE}$terms$"
    )
    return [
        function,
        f"CREATE INDEX IF NOT EXISTS {INDEX} ON {full} USING gin ({prefix}{FUNCTION}(body))",
    ]


def _remove(table: Table, dialect: Dialect) -> list[str]:
    return [f"DROP FUNCTION IF EXISTS {schema_prefix(table, dialect)}{FUNCTION}(text) CASCADE"]


SEARCH_TERMS = TableDdl(create=on_postgresql(_create), drop=on_postgresql(_remove))
"""The function and the index of the terms, unless they exist."""
