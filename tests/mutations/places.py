"""Ways to break the capture code, each with the tests that must notice."""

from __future__ import annotations

from dataclasses import dataclass

LIBRARY = "tests/integration/library"


@dataclass(frozen=True)
class Mutation:
    """One place of the code, broken.

    Attributes:
        name: what is broken, in words.
        path: the file below src/auditspan.
        before: text that occurs in it exactly once.
        after: what stands there instead.
        tests: files below tests/integration/library, one of which must fail.
        only: a `-k` expression, where one case is enough to look at.
    """

    name: str
    path: str
    before: str
    after: str
    tests: str
    only: str = "sqlite"


WRITES, STATEMENTS, SHAPES = "test_writes.py", "test_statements.py", "test_shapes.py"
SAVEPOINTS, SECRETS, COMMITS = "test_savepoints.py", "test_secrets.py", "test_commits.py"
VALUES, REFUSALS, SESSIONS = "test_values.py", "test_refusals.py", "test_sessions.py"
CTES = "test_ctes.py"
RACED, TAKEN = "test_replaced_and_raced.py", "test_taken_along.py"

FLUSHES = "capture/flushes.py"
MUTATIONS = [
    # ------------------------------------------------------------------------- the unit of work
    Mutation(
        "drop the hook after INSERT",
        FLUSHES,
        'event.listen(Mapper, "after_insert", _after("create"), raw=True)',
        "",
        WRITES,
    ),
    Mutation(
        "drop the hook after UPDATE",
        FLUSHES,
        'event.listen(Mapper, "after_update", _after("update"), raw=True)',
        "",
        WRITES,
    ),
    Mutation(
        "drop the hook after DELETE",
        FLUSHES,
        'event.listen(Mapper, "after_delete", _after("delete"), raw=True)',
        "",
        WRITES,
    ),
    Mutation(
        "drop the hook before UPDATE",
        FLUSHES,
        'event.listen(Mapper, "before_update", _before("update"), raw=True)',
        "",
        WRITES,
    ),
    Mutation(
        "drop the hook before INSERT",
        FLUSHES,
        'event.listen(Mapper, "before_insert", _before("create"), raw=True)',
        "",
        SHAPES,
    ),
    Mutation(
        "write no rows after a flush",
        FLUSHES,
        "            tracked.capture.write(connection, batch)",
        "            pass",
        WRITES,
    ),
    Mutation(
        "record what has not changed",
        "values.py",
        "        if changes.keys() <= model.ignored:\n            return None\n",
        "",
        VALUES,
    ),
    Mutation(
        "take a session under no trail",
        FLUSHES,
        "    if not isinstance(tracked, _Tracked):\n        raise",
        "    if not isinstance(tracked, _Tracked):\n        return Flush()\n        raise",
        REFUSALS,
    ),
    Mutation(
        "forget the row that a new object takes over",
        FLUSHES,
        "    replaced = _replaced(mapper, state)",
        "    replaced = None",
        SHAPES,
    ),
    Mutation(
        "trust a session whose rows a statement has changed",
        FLUSHES,
        "    is_stale = bool(rewritten) and not rewritten.isdisjoint(mapper.tables)",
        "    is_stale = False",
        "test_sequences.py",
    ),
    # ----------------------------------------------------------------------------------- values
    Mutation(
        "swap old and new",
        "diff.py",
        'name: {"old": old.get(name), "new": value}',
        'name: {"old": value, "new": old.get(name)}',
        WRITES,
    ),
    Mutation(
        "take the old value from the session where it is not loaded",
        "values.py",
        "    if missing:\n        identity",
        "    if False:\n        identity",
        WRITES,
    ),
    Mutation(
        "do not fetch what the database made",
        "values.py",
        "        if missing:\n            groups[",
        "        if False:\n            groups[",
        WRITES,
    ),
    Mutation(
        "forget that an UPDATE may set columns by itself",
        "values.py",
        "{*model.generated, *changed} if model.generated else changed",
        "changed",
        WRITES,
    ),
    Mutation(
        "compare 1 and True as equal",
        "diff.py",
        "    return type(old) is type(new) and old == new",
        "    return old == new",
        "../../unit/test_diff.py",
        "",
    ),
    Mutation(
        "keep a number as it was given",
        "coercion.py",
        "        return represent(_rounded(column_type, value))",
        "        return represent(value)",
        VALUES,
    ),
    # ---------------------------------------------------------------------------------- secrets
    Mutation(
        "show redacted columns of objects",
        "values.py",
        "    if column.redacted:\n        return redact(column.name, value, key)\n",
        "",
        SECRETS,
    ),
    Mutation(
        "show redacted columns of statements",
        "capture/pictures.py",
        "    visible = concealed(column, kept, mac_key)",
        "    visible = kept",
        STATEMENTS,
    ),
    Mutation(
        "show excluded columns",
        "policy.py",
        "    if column.name in policy.exclude:\n        return False\n",
        "",
        SECRETS,
    ),
    Mutation(
        "redact no column by its name",
        "policy.py",
        "    return policy.include is None and looks_secret",
        "    return False",
        SECRETS,
    ),
    # ----------------------------------------------------------------------------- transactions
    Mutation(
        "keep the records of a rolled-back savepoint",
        "capture/journal.py",
        "        del self._frames[self._position(name) :]\n\n    def release",
        "        pass\n\n    def release",
        SAVEPOINTS,
    ),
    Mutation(
        "drop only the innermost savepoint",
        "capture/journal.py",
        "        del self._frames[self._position(name) :]\n\n    def release",
        "        del self._frames[-1:]\n\n    def release",
        SAVEPOINTS,
    ),
    Mutation(
        "lose the records of a released savepoint",
        "capture/journal.py",
        "            self._frames[-1].extend(frame.first, frame.counts)\n            self._frames",
        "            self._frames",
        SAVEPOINTS,
    ),
    Mutation(
        "announce at a rollback",
        "capture/transactions.py",
        '        _taken(getattr(dbapi_connection, "info", {}))\n',
        '        _committed(_taken(getattr(dbapi_connection, "info", {})))\n',
        SAVEPOINTS,
    ),
    Mutation(
        "announce nothing at a commit",
        "capture/transactions.py",
        "        _committed(_taken(dbapi_connection.info))",
        "        _taken(dbapi_connection.info)",
        SAVEPOINTS,
    ),
    Mutation(
        "announce before the database has committed",
        "capture/transactions.py",
        "        do_commit(dbapi_connection)\n        _committed(_taken(dbapi_connection.info))",
        "        _committed(_taken(dbapi_connection.info))\n        do_commit(dbapi_connection)",
        COMMITS,
        "",
    ),
    Mutation(
        "commit a transaction that lacks a record",
        "capture/transactions.py",
        "        journal.require_complete()\n",
        "",
        COMMITS,
    ),
    Mutation(
        "announce what PostgreSQL has given up",
        "capture/transactions.py",
        "        _open(connection).give_up()",
        "        pass",
        COMMITS,
        "postgresql",
    ),
    Mutation(
        "give every row a transaction of its own",
        "capture/journal.py",
        "        self._tx_id = self._tx_id or new_id()",
        "        self._tx_id = new_id()",
        WRITES,
    ),
    Mutation(
        "let a failed audit row pass",
        "capture/writer.py",
        "            raise failure from error",
        "            return",
        COMMITS,
    ),
    # ------------------------------------------------------------------------------- statements
    Mutation(
        "skip statements",
        "capture/statements.py",
        "    whole = _before_write(connection, context)",
        "    whole = None",
        STATEMENTS,
    ),
    Mutation(
        "skip INSERT statements",
        "capture/statements.py",
        "    whole = _before_write(connection, context)",
        "    whole = None if context.isinsert else _before_write(connection, context)",
        STATEMENTS,
    ),
    Mutation(
        "skip UPDATE statements",
        "capture/statements.py",
        "    whole = _before_write(connection, context)",
        "    whole = None if context.isupdate else _before_write(connection, context)",
        STATEMENTS,
    ),
    Mutation(
        "skip DELETE statements",
        "capture/statements.py",
        "    whole = _before_write(connection, context)",
        "    whole = None if context.isdelete else _before_write(connection, context)",
        STATEMENTS,
    ),
    Mutation(
        "take every statement with a cache for the unit of work",
        "capture/statements.py",
        "    return flush is not None and bool(flush.open) and",
        "    return",
        STATEMENTS,
    ),
    Mutation(
        "take a second statement of a flush for its objects'",
        "capture/statements.py",
        "flush is not None and bool(flush.open) and",
        "flush is not None and",
        SHAPES,
    ),
    Mutation(
        "leave the caller the rows of our RETURNING",
        "capture/inserts.py",
        "        result._metadata = _NO_RESULT_METADATA",
        "        pass",
        STATEMENTS,
    ),
    Mutation(
        "leave the caller our columns",
        "capture/inserts.py",
        "    if added:\n",
        "    if False:\n",
        STATEMENTS,
    ),
    Mutation(
        "use the values of an earlier statement",
        "capture/criteria.py",
        "    if name in parameters:\n        return parameters[name]\n",
        "    if name in parameters:\n        return parameter.value\n",
        STATEMENTS,
    ),
    Mutation(
        "look for rows under their old keys",
        "capture/rows.py",
        "        after = self.later or self.keys",
        "        after = self.keys",
        STATEMENTS,
    ),
    Mutation(
        "ignore the class of a row",
        "capture/audited.py",
        "            kind = self.kinds.get(values[self.discriminator], kind)",
        "            pass",
        STATEMENTS,
    ),
    Mutation(
        "tell an upsert as an insert",
        "capture/statements.py",
        "    if existing is not None:",
        "    if False:",
        STATEMENTS,
    ),
    Mutation(
        "do not follow cascades of statements",
        "capture/updates.py",
        "    affected.follow(rows, rows.keys, touched)",
        "    pass",
        SHAPES,
    ),
    Mutation(
        "do not follow cascades of objects",
        "capture/statements.py",
        "        if follows:\n            _follow_flush(connection, table, touched)\n",
        "",
        SHAPES,
    ),
    Mutation(
        "follow cascades one level deep",
        "capture/cascades.py",
        "            if reached:\n",
        "            if False:\n",
        SHAPES,
    ),
    Mutation(
        "forget link tables",
        "capture/subjects.py",
        "    return audited_table(table) or link_table(table)",
        "    return audited_table(table)",
        SHAPES,
    ),
    Mutation(
        "swap added and removed",
        "capture/links.py",
        '(("removed", old), ("added", new))',
        '(("added", old), ("removed", new))',
        SHAPES,
    ),
    Mutation(
        "let SQL as text pass",
        "capture/statements.py",
        "isinstance(compiled.statement, DDL):\n        check_text(connection, statement)",
        "isinstance(compiled.statement, DDL):\n        pass",
        "test_guard.py",
    ),
    # ----------------------------------------------------- writes in common table expressions
    Mutation(
        "skip writes in common table expressions",
        "capture/statements.py",
        "    parts = _before_ctes(connection, context) if context.compiled.ctes else []",
        "    parts = []",
        CTES,
        only="",
    ),
    Mutation(
        "tell what a write in a common table expression returned and not what it changed",
        "capture/ctes.py",
        "    rows.read(connection, statement.with_for_update(of=table))",
        "    pass",
        CTES,
        only="",
    ),
    Mutation(
        "let others add rows under a common table expression",
        "capture/ctes.py",
        "    lock_table(connection, table)\n",
        "",
        CTES,
        only="",
    ),
    Mutation(
        "ask beforehand what a common table expression writes",
        "capture/criteria.py",
        "    require_reading(criteria)\n",
        "",
        CTES,
        only="",
    ),
    Mutation(
        "let two writes of a statement meet",
        "capture/statements.py",
        "        require_apart([*parts, whole])\n",
        "",
        CTES,
        only="",
    ),
    Mutation(
        "take a text beside a common table expression for its write",
        "capture/texts.py",
        "    return left[name] >= 0",
        "    return name in left",
        CTES,
        only="",
    ),
    # ------------------------------------------------ what a statement does not name, and races
    Mutation(
        "let OR REPLACE pass",
        "capture/statements.py",
        "    require_no_replacing(statement_of(context), subject.table)\n",
        "",
        RACED,
        only="or_replace",
    ),
    Mutation(
        "let a schema replace rows",
        "policy.py",
        "    _require_no_replacing(table)\n    return AuditedModel(",
        "    return AuditedModel(",
        RACED,
        only="key_that_replaces",
    ),
    Mutation(
        "let a cascade change keys",
        "capture/cascades.py",
        "                _require_kept_keys(child.subject, changed)\n",
        "",
        RACED,
    ),
    Mutation(
        "do not lock what a cascade takes along",
        "capture/cascades.py",
        "    return statement.with_for_update(of=child.table)",
        "    return statement",
        RACED,
        only="adds_a_child",
    ),
    Mutation(
        "do not lock the parents that a flush deletes",
        "capture/cascades.py",
        "select(*subject.key).where(own).with_for_update()",
        "select(*subject.key).where(own)",
        RACED,
        only="adds_a_child",
    ),
    Mutation(
        "do not notice a raced upsert",
        "capture/pending.py",
        "            if self.races:\n",
        "            if False:\n",
        RACED,
        only="gets_before",
    ),
    Mutation(
        "let others write into a tree between",
        "capture/inserts.py",
        "    if refers:\n",
        "    if False:\n",
        RACED,
        only="into_a_tree",
    ),
    # ------------------------------------------------------- what goes or changes with a parent
    Mutation(
        "let text pass that takes audited rows along",
        "capture/texts.py",
        'found += taken_along(table, truncated=write.verb == "truncate")',
        "pass",
        TAKEN,
        only="test_text",
    ),
    Mutation(
        "let an upsert change audited rows behind its table",
        "capture/statements.py",
        "            require_no_cascade(table, overwritten(statement, table))",
        "            pass",
        TAKEN,
        only="upsert",
    ),
    Mutation(
        "do not follow cascades of upserts",
        "capture/statements.py",
        "        affected.follow(rows, list(rows.keys), touched)\n",
        "",
        TAKEN,
        only="upsert",
    ),
    Mutation(
        "let a child come to a code that changes",
        "capture/updates.py",
        "        and not dependents(subject.table, touched)\n",
        "",
        TAKEN,
        only="adds_a_child",
    ),
]
