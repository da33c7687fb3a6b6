"""Anonymous PL/pgSQL blocks that create and drop triggers."""

from __future__ import annotations

TREE = """
        WITH RECURSIVE tree (oid) AS (
            SELECT audited::oid UNION
            SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON i.inhparent = tree.oid
        )
        SELECT c.oid, c.oid::regclass AS relation, c.oid = audited AS root, c.relispartition
          FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid WHERE c.relkind IN ('r', 'p')"""


def do_block(declarations: str, body: str) -> str:
    """Return an anonymous PL/pgSQL block."""
    text = f"\nDECLARE\n    {declarations}\nBEGIN\n{body.strip(chr(10))}\nEND\n"
    tag = "auditspan"
    while f"${tag}$" in text:
        tag += "_"
    return f"DO ${tag}${text}${tag}$"


def quoted_text(sql: str) -> str:
    """Quote SQL as a literal; its names must be quoted, with percent signs doubled."""
    return "'" + sql.replace("'", "''") + "'"
