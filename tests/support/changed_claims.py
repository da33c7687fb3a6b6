"""Claims of the present capture that are other ones with triggers, and why.

`make test-triggers` leaves these tests out; `tests/staged` has what is claimed in their place.
"""

from __future__ import annotations

RECORDED = "SQL that only the database understands was refused, and is recorded row by row"
AT_COMMIT = "a record that cannot be written refuses the commit, where it refused the statement"
AUTOCOMMIT = "what AUTOCOMMIT has committed is recorded by the worker, and not refused"
AS_STORED = "the form is what the column holds, and no longer what Python makes of it"
MERGED = "what one transaction does to one object or relationship is told together"
COUNTED = "`unaudited` counts all that is written inside, also by the unit of work"
ORDER = "what a deletion or a changed key takes along is told behind it on PostgreSQL"
STAGING = "the metadata has the staging table besides"

CHANGED = {
    "test_a_caught_refusal_cannot_be_committed_over": AT_COMMIT,
    "test_a_refusal_inside_a_savepoint_takes_the_savepoint_only": AT_COMMIT,
    "test_who_swallows_a_failed_row_cannot_commit": AT_COMMIT,
    "test_a_poisoned_connection_works_again_after_its_rollback": AT_COMMIT,
    "test_sql_that_writes_to_an_audited_table_is_refused_before_it_runs": RECORDED,
    "test_the_refusal_says_which_table_and_what_to_do": RECORDED,
    "test_a_refused_statement_leaves_its_transaction_as_it_was": RECORDED,
    "test_text_is_refused_in_every_way_to_execute_it": RECORDED,
    "test_sql_that_is_let_through_leaves_one_row_for_each_type": RECORDED,
    "test_a_statement_that_is_rolled_back_leaves_no_row": RECORDED,
    "test_lenient_a_statement_without_an_actor_is_recorded_as_unknown": RECORDED,
    "test_a_statement_shows_no_secret": RECORDED,
    "test_core_statements_are_captured_where_text_is_not": RECORDED,
    "test_the_way_round_ends_with_its_block": RECORDED,
    "test_an_inner_actor_and_the_innermost_reason_are_recorded": RECORDED,
    "test_a_session_that_is_under_no_trail_cannot_write_an_audited_model": RECORDED,
    "test_a_cascade_into_a_key_is_refused": RECORDED,
    "test_a_class_that_no_column_tells_is_refused_in_statements": RECORDED,
    "test_a_value_that_cannot_be_kept_is_refused_without_showing_it": AS_STORED,
    "test_a_changed_collection_is_one_change_with_what_was_added_and_removed": MERGED,
    "test_a_statement_leaves_one_row_for_each_record_that_it_changes": MERGED,
    "test_the_tables_of_the_cases_are_all_of_the_application": STAGING,
    "test_an_upsert_is_refused_where_audited_rows_would_change_with_it": RECORDED,
    "test_or_replace_is_refused_where_audited_rows_would_go_with_it": RECORDED,
    "test_text_is_refused_where_audited_rows_would_go_with_its_table": RECORDED,
    "test_text_that_is_let_through_leaves_one_row_for_each_type_that_goes_with_it": RECORDED,
    "test_a_delete_that_is_let_through_leaves_a_row_for_what_goes_with_it": RECORDED,
    "test_an_autocommit_engine_is_refused": AUTOCOMMIT,
    "test_an_autocommit_session_is_refused": AUTOCOMMIT,
    "test_an_autocommit_connection_is_refused": AUTOCOMMIT,
    "test_a_value_of_each_kind_stands_as_the_format_has_it": AS_STORED,
    "test_lenient_records_unknown_however_it_is_written": RECORDED,
    "test_changes_need_no_registration": RECORDED,
    "test_nobody_adds_a_child_by_a_code_that_changes": RECORDED,
    "test_an_upsert_tells_what_changes_with_its_keys": ORDER,
    "test_links_that_the_database_deletes_with_one_side": ORDER,
    "test_objects_are_captured_also_where_statements_are_not": COUNTED,
    "test_links_that_a_flush_writes_are_told_also_where_statements_are_not": COUNTED,
    "test_life_of_a_user": AS_STORED,
}
"""Test functions by name, with the reason."""

ONLY = {
    "test_links_that_the_database_deletes_with_one_side": "postgresql",
    "test_an_upsert_tells_what_changes_with_its_keys": "postgresql",
    "test_a_statement_leaves_one_row_for_each_record_that_it_changes": "insert_of_a_joined_class",
    "test_a_value_of_each_kind_stands_as_the_format_has_it": "seen-",
    "test_life_of_a_user": "sqlite",
}
"""Of these, only the cases whose id has this in it."""


def is_changed(node: str) -> bool:
    """Whether the test of this node id claims what holds no more."""
    name, _, case = node.rpartition("::")[2].partition("[")
    return name in CHANGED and ONLY.get(name, "") in case
