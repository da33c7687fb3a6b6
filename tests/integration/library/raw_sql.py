"""SQL as text: what writes to audited tables with the changes that it makes, and what only reads.

A row is there only for the texts that name its table, so that a deletion of a team needs no player
to go first. A text may be several, which are executed one after another in one transaction.
"""

from __future__ import annotations

from typing import Any

Change = tuple[str, dict[str, Any]]
"""The action and the changes of an event, without the primary key."""

Texts = dict[str | tuple[str, ...], list[Change]]

SET = "SET name = 'changed'"
UPDATE = f"UPDATE team {SET}"
FUNCTION = f"CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ {UPDATE} RETURNING name $$"
MERGE = "MERGE INTO team USING plain ON team.id = plain.id"

CHANGED: Change = ("team.update", {"name": {"old": "before", "new": "changed"}})
ADDED: Change = ("team.create", {"name": {"new": "new"}})
GONE: Change = ("team.delete", {"name": {"old": "before"}})
PLAYER_GONE: Change = ("player.delete", {"name": {"old": "one"}, "team_id": {"old": 1}})

WRITES: Texts = {
    UPDATE: [CHANGED],
    f"update TEAM {SET} where id = 1": [CHANGED],
    f'UPDATE "team" {SET}': [CHANGED],
    f"UPDATE team AS t {SET}": [CHANGED],
    f"\n\t UPDATE\n\tteam\n\t{SET} ; ": [CHANGED],
    "INSERT INTO team (name) VALUES ('new')": [ADDED],
    "INSERT INTO team (name) VALUES ('new'), ('new')": [ADDED, ADDED],
    "INSERT INTO team (name) SELECT 'new' FROM plain": [ADDED],
    f"INSERT INTO team (id, name) VALUES (1, 'new') ON CONFLICT (id) DO UPDATE {SET}": [CHANGED],  # noqa: S608
    "INSERT INTO team (id, name) VALUES (1, 'new') ON CONFLICT (id) DO NOTHING": [],
    "INSERT INTO team AS t (name) VALUES ('new')": [ADDED],
    "DELETE FROM team": [GONE],
    "DELETE FROM team WHERE id IN (SELECT id FROM plain)": [GONE],
    f"{UPDATE} FROM plain WHERE plain.id = team.id": [CHANGED],
    f"{UPDATE} WHERE false": [],
    "UPDATE team SET name = name": [],
    f"/* a comment */ -- and another\n UPDATE /* here */ team -- there\n {SET}": [CHANGED],
    f"-- SELECT 1 \n{UPDATE}": [CHANGED],
    f"/* it's one */ {UPDATE} /* isn't it */": [CHANGED],
    f"UPDATE/**/team/**/{SET}": [CHANGED],
    f"WITH one AS (SELECT 1 AS id) {UPDATE} WHERE id IN (SELECT id FROM one)": [CHANGED],  # noqa: S608 (no input)
    "WITH one AS (SELECT 'new' AS name) INSERT INTO team (name) SELECT name FROM one": [ADDED],
    "WITH RECURSIVE one AS (SELECT 1 AS id) DELETE FROM team WHERE id IN (SELECT id FROM one)": [
        GONE
    ],
    f"WITH team2 AS (SELECT 'it''s; -- \" /*' AS x) {UPDATE}": [CHANGED],
    f"{UPDATE} RETURNING id": [CHANGED],
    "DELETE FROM player": [PLAYER_GONE],
    "DELETE FROM post_tag": [("post.update", {"tags": {"removed": ["1"]}})],
    "INSERT INTO post_tag (post_id, tag_id) VALUES (1, 2)": [
        ("post.update", {"tags": {"added": ["2"]}})
    ],
    "UPDATE post_tag SET tag_id = 2": [
        ("post.update", {"tags": {"added": ["2"], "removed": ["1"]}})
    ],
}

SQLITE: Texts = {
    "REPLACE INTO team (id, name) VALUES (1, 'new')": [GONE, ADDED],
    "INSERT OR REPLACE INTO team (id, name) VALUES (1, 'new')": [GONE, ADDED],
    f"UPDATE OR IGNORE team {SET}": [CHANGED],
    f"UPDATE [team] {SET}": [CHANGED],
    f"UPDATE `team` {SET}": [CHANGED],
    f"UPDATE 'team' {SET}": [CHANGED],
    f"UPDATE main.team {SET}": [CHANGED],
    f'UPDATE "main" . "team" {SET}': [CHANGED],
    f"UPDATE [main].[Team] {SET}": [CHANGED],
    f"/* /* no second one */ {UPDATE}": [CHANGED],
    "WITH one AS (SELECT 1) REPLACE INTO team (id, name) VALUES (1, 'new')": [GONE, ADDED],
    (
        f"CREATE TRIGGER t AFTER INSERT ON plain BEGIN {UPDATE}; END",
        "INSERT INTO plain (name) VALUES ('x')",
        "DROP TRIGGER t",
    ): [CHANGED],
}

POSTGRESQL: Texts = {
    "TRUNCATE player": [PLAYER_GONE],
    "TRUNCATE TABLE ONLY public.player RESTART IDENTITY CASCADE": [PLAYER_GONE],
    "TRUNCATE plain, player": [PLAYER_GONE],
    "TRUNCATE plain, public.team CASCADE": [GONE],
    "TRUNCATE team /* with each player */ CASCADE": [GONE, PLAYER_GONE],
    f"UPDATE public.team {SET}": [CHANGED],
    f'UPDATE "public" . "team" {SET}': [CHANGED],
    f"UPDATE ONLY team {SET}": [CHANGED],
    f"UPDATE ONLY (team) {SET}": [CHANGED],
    f"UPDATE team * {SET}": [CHANGED],
    f'UPDATE U&"t\\0065am" {SET}': [CHANGED],
    f"UPDATE U&\"t!0065am\" UESCAPE '!' {SET}": [CHANGED],
    f"/* one /* in one */ */ {UPDATE}": [CHANGED],
    f"SELECT 1; {UPDATE}": [CHANGED],
    f"SELECT 'not here' AS \"UPDATE plain\" WHERE false; {UPDATE}": [CHANGED],
    f"LOCK TABLE team; {UPDATE}": [CHANGED],
    f"SET LOCAL search_path = public; {UPDATE}": [CHANGED],
    f"SELECT '\\'; {UPDATE} --'": [CHANGED],
    f"SELECT E'it\\'s'; {UPDATE} --'": [CHANGED],
    f"SELECT $$ ' $$; {UPDATE} -- '": [CHANGED],
    f"SELECT $a$ $b$ ' $a$; {UPDATE} -- $b$ '": [CHANGED],
    f"SELECT 1 AS a$a$; {UPDATE}; SELECT 1 AS b$a$": [CHANGED],
    f"DELETE FROM player; {UPDATE}": [PLAYER_GONE, CHANGED],  # noqa: S608
    f"WITH moved AS ({UPDATE} RETURNING id) SELECT * FROM moved": [CHANGED],  # noqa: S608
    f"WITH gone AS (DELETE FROM player RETURNING id) {UPDATE}": [CHANGED, PLAYER_GONE],  # noqa: S608
    "WITH gone AS (DELETE FROM team RETURNING name) INSERT INTO plain SELECT 2, name FROM gone": [
        GONE
    ],
    "WITH b AS MATERIALIZED (INSERT INTO team (name) VALUES ('new') RETURNING id) SELECT 1": [
        ADDED
    ],
    f"{MERGE} WHEN MATCHED THEN UPDATE SET name = 'changed' WHEN NOT MATCHED THEN DO NOTHING": [
        CHANGED
    ],
    "MERGE INTO ONLY public.team t USING plain p ON t.id = p.id WHEN MATCHED THEN DELETE": [GONE],
    "COPY team (id, name) FROM '/dev/null'": [],
    "COPY public.team (id, name) FROM PROGRAM 'echo 50,new' (FORMAT csv)": [ADDED],
    f"COPY ({UPDATE} RETURNING id) TO '/dev/null'": [CHANGED],
    f"EXPLAIN ANALYZE {UPDATE}": [CHANGED],
    f"EXPLAIN (ANALYZE, BUFFERS OFF) {UPDATE}": [CHANGED],
    (f"PREPARE later AS {UPDATE}", "EXECUTE later", "DEALLOCATE later"): [CHANGED],
    f"DO $$ BEGIN {UPDATE}; END $$": [CHANGED],
    "DO LANGUAGE plpgsql 'BEGIN UPDATE team SET name = ''changed''; END'": [CHANGED],
    (FUNCTION, "SELECT f()", "DROP FUNCTION f()"): [CHANGED],
    (FUNCTION, "CREATE TABLE copied AS SELECT f()", "DROP FUNCTION f()"): [CHANGED],
    (
        f"CREATE RULE r AS ON INSERT TO plain DO ALSO {UPDATE}",
        "INSERT INTO plain (name) VALUES ('x')",
        "DROP RULE r ON plain",
    ): [CHANGED],
}

#: What does not write to an audited table.
READS = [
    "SELECT * FROM team",
    "SELECT 'UPDATE team SET name = 1; DELETE FROM team'",
    "SELECT name AS \"DELETE FROM team\" FROM plain -- UPDATE team SET name = 'x'",
    "SELECT 'it''s' /* ; DELETE FROM team */ AS x",
    "WITH t AS (SELECT * FROM team) SELECT * FROM t",
    f"EXPLAIN {UPDATE}",
    "EXPLAIN SELECT * FROM team",
    "INSERT INTO plain (name) SELECT name FROM team",
    "INSERT INTO plain (name) VALUES ('DELETE FROM team')",
    "INSERT INTO plain (name) VALUES ('x; UPDATE team SET name = 1')",
    "WITH t AS (SELECT name FROM team) INSERT INTO plain (name) SELECT name FROM t",
    "UPDATE plain SET name = 'x' WHERE name IN (SELECT name FROM team)",
    "UPDATE plain SET name = team.name FROM team WHERE team.id = plain.id",
    "DELETE FROM plain WHERE id IN (SELECT id FROM team)",
    "SELECT replace(name, 'a', 'b'), \"update\" FROM (SELECT name, 1 AS \"update\" FROM team) AS x",
    "CREATE TEMPORARY TABLE mine AS SELECT * FROM team",
    "CREATE TABLE teams (id INTEGER)",
    "SAVEPOINT team",
]
SQLITE_READS = [
    f"EXPLAIN QUERY PLAN {UPDATE}",
    "REPLACE INTO plain (id, name) SELECT id, name FROM team",
    "PRAGMA table_info(team)",
]
POSTGRESQL_READS = [
    "SELECT * FROM team FOR UPDATE",
    "SELECT * FROM team FOR NO KEY UPDATE OF team SKIP LOCKED",
    "LOCK TABLE team IN SHARE MODE",
    "SELECT $$ UPDATE team SET name = 'x' $$",
    "SELECT E'\\'; UPDATE team SET name = ''x''; --'",
    "SELECT $a$ ; DELETE FROM team; $b$ $a$",
    "/* one /* in one */ DELETE FROM team */ SELECT 1",
    "EXPLAIN ANALYZE SELECT * FROM team FOR UPDATE",
    "DELETE FROM plain USING team WHERE team.id = plain.id",
    "MERGE INTO plain USING team ON team.id = plain.id WHEN MATCHED THEN UPDATE SET name = 'x'",
    "COPY team TO '/dev/null'",
    "COPY (SELECT * FROM team) TO '/dev/null'",
    "COPY plain FROM '/dev/null'",
    "TRUNCATE plain",
]


def writes(dialect: str) -> Texts:
    """The texts that write on this database, with their changes."""
    return WRITES | {"sqlite": SQLITE, "postgresql": POSTGRESQL}[dialect]


def reads(dialect: str) -> list[str]:
    """The texts that write to no audited table on this database."""
    return READS + {"sqlite": SQLITE_READS, "postgresql": POSTGRESQL_READS}[dialect]
