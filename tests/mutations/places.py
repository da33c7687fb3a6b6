"""Ways to break what is told, announced and refused, each with the tests that must notice."""

from __future__ import annotations

from mutations.mutation import Mutation

SAVEPOINTS = "integration/library/test_savepoints.py"
SECRETS = "integration/library/test_secrets.py"
COMMITS = "integration/library/test_commits.py"
WRITES = "integration/library/test_writes.py"
ENRICHMENT = "integration/library/test_enrichment.py"
ERASURE = "integration/library/test_erasure.py"
SHAPES = "integration/library/test_shapes.py"

PURGES = "integration/retention/test_purge.py"

MUTATIONS = [
    Mutation(
        "tell a change of the class as an update",
        "capture/objects.py",
        "for one in part.split() if part.changes_class else (part,):",
        "for one in (part,):",
        "integration/capture/test_class_changes.py",
    ),
    Mutation(
        "swap old and new",
        "capture/parts.py",
        'changes[name] = {"old": conceal(before), "new": conceal(after)}',
        'changes[name] = {"old": conceal(after), "new": conceal(before)}',
        WRITES,
    ),
    Mutation(
        "show redacted columns of objects",
        "mapping/values.py",
        "    if column.redacted:\n        return lambda value: redact(name, value, key)\n",
        "",
        SECRETS,
    ),
    Mutation(
        "show excluded columns",
        "mapping/policy.py",
        "    if column.name in policy.exclude:\n        return False\n",
        "",
        SECRETS,
    ),
    Mutation(
        "redact no column by its name",
        "mapping/policy.py",
        "    return policy.include is None and looks_secret",
        "    return False",
        SECRETS,
    ),
    Mutation(
        "redact no column by a name of the trail",
        "mapping/policy.py",
        "    if matches_any(column.name, privacy.secrets.patterns):\n        return True\n",
        "",
        ENRICHMENT,
        "sqlite and reveals",
    ),
    Mutation(
        "redact no member by a name of the trail",
        "format/redaction.py",
        "is_secret = looks_secret or matches_any(name, self.patterns)",
        "is_secret = looks_secret",
        ENRICHMENT,
        "sqlite and every_place",
    ),
    Mutation(
        "record the client address all the same",
        "mapping/privacy.py",
        "client_address=request.client_address if self.client_address else None",
        "client_address=request.client_address",
        ENRICHMENT,
        "sqlite and user_agent",
    ),
    Mutation(
        "record the address of another program all the same",
        "capture/undrained.py",
        "address = row.client_address if privacy.client_address else None",
        "address = row.client_address",
        ENRICHMENT,
        "sqlite and another_program",
    ),
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
        "            self._frames[-1].merge(frame)",
        "            pass",
        SAVEPOINTS,
    ),
    Mutation(
        "announce at a rollback",
        "capture/transactions.py",
        "        end(_info(dbapi_connection))\n",
        "        _announce(end(_info(dbapi_connection)))\n",
        SAVEPOINTS,
    ),
    Mutation(
        "announce nothing at a commit",
        "capture/transactions.py",
        "        do_commit(dbapi_connection)\n        _announce(ended)",
        "        do_commit(dbapi_connection)",
        SAVEPOINTS,
    ),
    Mutation(
        "announce before the database has committed",
        "capture/transactions.py",
        "        do_commit(dbapi_connection)\n        _announce(ended)",
        "        _announce(ended)\n        do_commit(dbapi_connection)",
        COMMITS,
        only="",
    ),
    Mutation(
        "commit a transaction that lacks a record",
        "capture/commits.py",
        "    journal.require_complete()\n",
        "",
        COMMITS,
    ),
    Mutation(
        "announce what PostgreSQL has given up",
        "capture/commits.py",
        "        journal.give_up()",
        "        pass",
        COMMITS,
        only="postgresql",
    ),
    Mutation(
        "give every row a transaction of its own",
        "capture/open_transaction.py",
        "        self._tx_id = self._tx_id or new_id()",
        "        self._tx_id = new_id()",
        "integration/library/test_sessions.py",
    ),
    Mutation(
        "let a failed audit row pass",
        "capture/database_errors.py",
        '        raise AuditWriteError(f"{message}: {_next_step(error)}") from error\n'
        "    raise error",
        "        return  # type: ignore[misc]",
        COMMITS,
    ),
    Mutation(
        "refuse what may be retried",
        "capture/database_errors.py",
        " and not asks_for_retry(error)",
        "",
        "integration/library/test_transactions.py",
        "serialize",
    ),
    Mutation(
        "forget link tables",
        "mapping/subjects.py",
        "    return audited_table(table) or link_table(table)",
        "    return audited_table(table)",
        SHAPES,
    ),
    Mutation(
        "leave the values in the body",
        "format/record.py",
        "        record, hidden = _committed(self) if self.disclosures else (self, _EMPTY)\n",
        "        record, hidden = self, _EMPTY\n",
        ERASURE,
        "shown_until",
    ),
    Mutation(
        "accept a disclosure that does not match",
        "storage/disclosures.py",
        "is_genuine = text is not None and commitment_of(text) == sha256",
        "is_genuine = True",
        ERASURE,
        "forged_with_the_keys",
    ),
    Mutation(
        "excuse every missing disclosure of an erased subject",
        "verify/disclosures.py",
        "self._erased.get(one.subject, 0) >= leaf.row_id",
        "one.subject in self._erased",
        ERASURE,
        "after_the_erasure",
    ),
    Mutation(
        "erase without waiting for writers",
        "storage/erasure_lock.py",
        '        connection.execute(_EXCLUDE, {"class": _CLASS, "n": _number(subject)})\n',
        "",
        ERASURE,
        "beside_writes",
    ),
    Mutation(
        "use remembered keys that were erased",
        "storage/new_disclosures.py",
        'is_stored = f"(SELECT k.key_id FROM {keys} k WHERE k.key_id = d.key_id) IS NOT NULL"',
        'is_stored = "true"',
        ERASURE,
        "after_an_erasure and postgresql",
    ),
    Mutation(
        "store values without the lock of their subjects",
        "storage/erasure_lock.py",
        '        return _SHARE, ",".join(map(str, numbers))',
        """        return "SELECT 'read committed' FROM (VALUES (?)) v", str(numbers)""",
        ERASURE,
        "beside_writes",
    ),
    Mutation(
        "accept every missing row after a purge",
        "verify/row_check.py",
        "        return is_gone and self.purge is not None and 0 <= leaf.seq < self.purge.size",
        "        return is_gone and self.purge is not None",
        PURGES,
        "by_hand and sqlite",
    ),
    Mutation(
        "believe an authorisation without its proof",
        "storage/purges.py",
        '        if not is_attested(members["action"], members["metadata"], key):\n'
        "            return None\n",
        "",
        PURGES,
        "forged and sqlite",
    ),
    Mutation(
        "purge rows that no sink has confirmed",
        "trail/retention/plan.py",
        "        yield Limit(size=seq + 1, reason=",
        "        yield Limit(size=2**62, reason=",
        PURGES,
        "unconfirmed and sqlite",
    ),
    Mutation(
        "forget the baseline of objects whose creation is purged",
        "reading/states/baseline.py",
        "leaf.seq < since) if since else true()",
        "leaf.seq < 0) if since else true()",
        PURGES,
        "old_rows_go and sqlite",
    ),
]
