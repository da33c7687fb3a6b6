"""Ways to break the capture by triggers, each with the tests that must notice."""

from __future__ import annotations

from mutations.mutation import Mutation

REPRODUCTIONS = "integration/capture/test_reproductions.py"
TYPES = "integration/capture/test_types.py"
LEFTOVERS = "integration/capture/test_leftovers.py"
FAILED = "integration/capture/test_failed_drains.py"
TRANSACTIONS = "integration/capture/test_transactions.py"
DATABASES = "integration/capture/test_several_databases.py"
ON_POSTGRESQL = "integration/capture/test_postgresql_triggers.py"
ON_SQLITE = "integration/capture/test_sqlite_triggers.py"
SEQUENCES = "integration/library/test_sequences.py"
JOINED = "integration/capture/test_joined_classes.py"


def _staged(
    name: str, path: str, before: str, after: str, tests: str, only: str = "sqlite"
) -> Mutation:
    return Mutation(name, path, before, after, tests, only)


TRIGGER_MUTATIONS = [
    # ------------------------------------------------------------------ triggers on PostgreSQL
    _staged(
        "stage no images of old rows",
        "storage/triggers/postgresql_functions.py",
        "    IF TG_OP <> 'INSERT' THEN\n{old}\n    END IF;",
        "",
        ON_POSTGRESQL,
        "update",
    ),
    _staged(
        "begin no chain",
        "storage/triggers/postgresql_functions.py",
        "        last := split_part(chain, ' ', 2)::tid;\n        count",
        "        count",
        ON_POSTGRESQL,
        "drain",
    ),
    _staged(
        "take a chain of another transaction for one's own",
        "storage/triggers/postgresql_functions.py",
        "IF xact IS NULL OR split_part(chain, ' ', 1) IS DISTINCT FROM xact::text THEN",
        "IF xact IS NULL THEN",
        ON_POSTGRESQL,
        "chain",
    ),
    _staged(
        "drain what other transactions have staged",
        "storage/triggers/postgresql_functions.py",
        "WHERE staged.ctid = place AND staged.xact_id = xact;",
        "WHERE staged.ctid = place;",
        ON_POSTGRESQL,
        "chain",
    ),
    _staged(
        "pass over a broken chain",
        "storage/triggers/postgresql_functions.py",
        "        IF NOT FOUND THEN",
        "        IF NOT FOUND AND false THEN",
        ON_POSTGRESQL,
        "chain",
    ),
    _staged(
        "let the drain scan the table",
        "storage/triggers/postgresql_functions.py",
        '    "enable_seqscan": "off",\n    "enable_tidscan": "on",\n    "plan_cache_mode"',
        '    "enable_tidscan": "off",\n    "plan_cache_mode"',
        ON_POSTGRESQL,
        "serializable",
    ),
    _staged(
        "truncate unseen",
        "storage/triggers/postgresql_functions.py",
        "FROM ONLY ' || TG_RELID::regclass LOOP",
        "FROM ONLY ' || TG_RELID::regclass || ' WHERE false' LOOP",
        ON_POSTGRESQL,
        "truncate",
    ),
    _staged(
        "show excluded columns to the staging table",
        "storage/triggers/postgresql_images.py",
        "excluded = column.name in staged.excluded",
        "excluded = False",
        ON_POSTGRESQL,
        "excluded",
    ),
    # ---------------------------------------------------------------------- triggers on SQLite
    _staged(
        "stage excluded columns",
        "storage/triggers/sqlite_images.py",
        "return [c.name for c in staged.columns if c.name not in staged.excluded]",
        "return [c.name for c in staged.columns]",
        ON_SQLITE,
        "excluded",
    ),
    _staged(
        "stage updates that change nothing",
        "storage/triggers/sqlite.py",
        "'UPDATE', {old}, {new} WHERE {differs(columns, dialect)}",
        "'UPDATE', {old}, {new} WHERE 1",
        ON_SQLITE,
        "update",
    ),
    _staged(
        "stage no deletions",
        "storage/triggers/sqlite.py",
        "displaced.follow_delete() + _stage(staged, dialect, f\"'DELETE', {old}, NULL\")",
        '"SELECT 1;\\n"',
        ON_SQLITE,
        "replace or tree or foreign",
    ),
    _staged(
        "lose rows that REPLACE displaces",
        "storage/triggers/sqlite_displaced.py",
        "WHEN {changed}{self._has_candidates()} BEGIN",
        "WHEN 0 BEGIN",
        ON_SQLITE,
        "displaced or replaces",
    ),
    _staged(
        "look for displaced rows only by the primary key",
        "storage/triggers/sqlite_displaced.py",
        "uniques = [c for c in table.constraints if isinstance(c, UniqueConstraint)]",
        "uniques: list[UniqueConstraint] = []",
        ON_SQLITE,
        "replaces",
    ),
    _staged(
        "keep positions that a savepoint rolls back",
        "storage/triggers/sqlite.py",
        "{string(staged.table.name)}, total_changes(), {values};",
        "{string(staged.table.name)}, 0, {values};",
        f"{ON_SQLITE} {REPRODUCTIONS}",
        "position or savepoint",
    ),
    _staged(
        "miss a trigger that was changed",
        "storage/triggers/sqlite.py",
        'elif not found[name].endswith(f"{quoted(name, dialect)}{definition}"):',
        "elif False:",
        ON_SQLITE,
        "problem",
    ),
    # ------------------------------------------------------------------------------- the drain
    _staged(
        "leave the candidates of REPLACE",
        "capture/sqlite.py",
        "WHERE id < 0 OR id BETWEEN",
        "WHERE id BETWEEN",
        TRANSACTIONS,
        "candidate",
    ),
    _staged(
        "lose the first row of each batch of a large transaction",
        "capture/postgresql.py",
        "        yield _changes(rows)\n    connection",
        "        yield _changes(rows[1:])\n    connection",
        REPRODUCTIONS,
        "postgresql and 5000",
    ),
    # ------------------------------------------------------------------------------- the hooks
    _staged(
        "drain nothing before COMMIT",
        "capture/transactions.py",
        "        before_commit(opened(_info(dbapi_connection)))\n",
        "",
        REPRODUCTIONS,
    ),
    _staged(
        "drain nothing before PREPARE",
        "capture/transactions.py",
        "        before_commit(open_transaction(connection))\n",
        "",
        TRANSACTIONS,
        "prepared",
    ),
    _staged(
        "drain nothing before a two-phase commit without PREPARE",
        "capture/commits.py",
        "    if not is_prepared:\n        _drain_or_roll_back(connection, transaction)",
        "    pass",
        TRANSACTIONS,
        "two_phase and once",
    ),
    _staged(
        "leave a failed commit open",
        "capture/commits.py",
        "        _end(connection)\n        raise",
        "        raise",
        FAILED,
    ),
    _staged(
        "commit one database before another can refuse",
        "capture/commits.py",
        "for each in {connection, *peers}:",
        "for each in {connection}:",
        DATABASES,
        "refusal",
    ),
    _staged(
        "run deferred triggers behind the drain",
        "capture/commits.py",
        '        connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")',
        "        pass",
        TRANSACTIONS,
        "deferred",
    ),
    _staged(
        "write an unknown table",
        "capture/watch.py",
        "    if not any(found is not None and subject_of(found) is not None for found in known):",
        "    if False:",
        FAILED,
    ),
    _staged(
        "write without an actor",
        "capture/watch.py",
        "    if watch.table is not None and origin.actor is None and recorder.strict:",
        "    if False:",
        FAILED,
    ),
    _staged(
        "note no change of context",
        "capture/watch.py",
        "    elif transaction.needs(origin):",
        "    elif False:",
        REPRODUCTIONS,
    ),
    _staged(
        "give every change to the first context",
        "capture/open_transaction.py",
        "for start, origin in reversed(self._origins):",
        "for start, origin in self._origins:",
        REPRODUCTIONS,
    ),
    _staged(
        "take rows of other programs for one's own",
        "capture/sqlite.py",
        "    return int(fetch(connection, sql.newest)[0][0])",
        "    return 0",
        LEFTOVERS,
        "sqlite and meet",
    ),
    # ---------------------------------------------------------------------------- the assembler
    _staged(
        "leave out tables that only a class on a join audits",
        "mapping/audited_table.py",
        "            _require_no_join(table, audited)",
        "            pass",
        JOINED,
        "sqlite and refused",
    ),
    _staged(
        "order classes on joins by their names",
        "mapping/mappers.py",
        "(is_on_join(m), len(",
        "(len(",
        JOINED,
        "sqlite",
    ),
    _staged(
        "take every row of a base table for one of the base class",
        "capture/objects.py",
        "if self.classes.has_row(table, part):",
        "if False:",
        JOINED,
        "sqlite and discriminator",
    ),
    _staged(
        "tell the parts of an object by themselves",
        "capture/objects.py",
        "return part.reader.audited.table not in tables and part.change.operation == first",
        "return False",
        f"{REPRODUCTIONS} integration/library/test_shapes.py",
    ),
    _staged(
        "tell updates of ignored columns only",
        "capture/objects.py",
        'if verb != "update" or not changes.keys() <= kind.ignored:',
        "if True:",
        "integration/library/test_statements.py",
        "sqlite and ignored",
    ),
    _staged(
        "tell a deletion as an update",
        "capture/parts.py",
        'return "delete" if self.new is None else "update"',
        'return "update"',
        REPRODUCTIONS,
    ),
    _staged(
        "count no rows of unaudited work",
        "capture/assembler.py",
        "        counted.rows += 1",
        "        counted.rows = 1",
        REPRODUCTIONS,
        "sqlite and unaudited",
    ),
    _staged(
        "show a redacted value",
        "capture/parts.py",
        "changes[name] = {side: None if raw is None else conceal(convert(raw))}",
        "changes[name] = {side: None if raw is None else convert(raw)}",
        "integration/library/test_secrets.py integration/library/test_values.py",
    ),
    _staged(
        "show redacted values of an update",
        "capture/parts.py",
        'changes[name] = {"old": conceal(before), "new": conceal(after)}',
        'changes[name] = {"old": before, "new": after}',
        "integration/library/test_secrets.py integration/library/test_values.py",
    ),
    _staged(
        "tell two texts of one time apart",
        "capture/parts.py",
        "if canonical_scalar(before) != canonical_scalar(after):",
        "if True:",
        TRANSACTIONS,
        "sqlite and equal_time",
    ),
    # ------------------------------------------------------------------------------ the values
    _staged(
        "round large integers",
        "mapping/column_values.py",
        "return value if -MAX_INTEGER <= value <= MAX_INTEGER else str(value)",
        "return value",
        TYPES,
    ),
    _staged(
        "tell booleans as numbers",
        "mapping/column_values.py",
        '    return _number(raw) == "1"',
        "    return int(_number(raw))",
        TYPES,
    ),
    _staged(
        "tell Python's value of a decorated type",
        "mapping/column_values.py",
        "        return _impl(kept.impl_instance, dialect)",
        "        return kept",
        TYPES,
        "sqlite",
    ),
    _staged(
        "lose the zeros of a number",
        "mapping/column_values.py",
        'return format(exact, "f") if exact.is_finite() else text',
        'return format(exact.normalize(), "f") if exact.is_finite() else text',
        f"{TYPES} {TRANSACTIONS}",
        "postgresql",
    ),
    _staged(
        "fail on numbers that are not finite",
        "mapping/column_values.py",
        'return format(exact, "f") if exact.is_finite() else text',
        "return str(int(exact))",
        f"{TYPES} {TRANSACTIONS}",
        "postgresql",
    ),
    _staged(
        "tell months as days",
        "mapping/column_values.py",
        "    if 12 * years + months:\n",
        "    if False:\n",
        TYPES,
        "postgresql",
    ),
    _staged(
        "lose the fraction of a second",
        "mapping/column_values.py",
        '    fraction = (match["fraction"] or "").ljust(6, "0")',
        '    fraction = "000000"',
        TYPES,
    ),
    _staged(
        "lose years before Christ",
        "mapping/column_values.py",
        "{zone}{match['era'] or ''}",
        "{zone}",
        TYPES,
        "postgresql",
    ),
    _staged(
        "tell a JSON document with fractions as Python has it",
        "mapping/column_values.py",
        "        return _is_integer(raw) and abs(int(raw)) <= MAX_INTEGER",
        "        return True",
        f"{TYPES} integration/library/test_values.py",
    ),
    # --------------------------------------------------------------------- what nobody drained
    _staged(
        "leave what another program wrote in the staging table",
        "capture/undrained.py",
        "taken = delete(staging).where(place.in_(oldest)).returning(*_columns(staging))",
        "taken = select(*_columns(staging)).where(place.in_(oldest))",
        LEFTOVERS,
        "sqlite and another_program",
    ),
    _staged(
        "name the application in place of the role",
        "capture/undrained.py",
        "actor=Actor.database(row.role)",
        "actor=Actor.database(row.application)",
        LEFTOVERS,
        "postgresql and another_program",
    ),
    _staged(
        "take rows of tables that are not known",
        "capture/undrained.py",
        ".where(and_(c.id > after, qualified.in_(sorted(tables))))",
        ".where(c.id > after)",
        LEFTOVERS,
        "sqlite and without_a_policy",
    ),
]
