"""Audited models and tables, and the representation of their values in a record."""

from __future__ import annotations

from auditspan.mapping.audited_model import AuditedColumn, AuditedModel
from auditspan.mapping.audited_table import (
    AuditedKind,
    AuditedTable,
    audited_table,
    keep_private,
)
from auditspan.mapping.catalog import home_of, table_named, tables_of
from auditspan.mapping.column_values import Convert, converter
from auditspan.mapping.link_table import LinkTable, link_table
from auditspan.mapping.mappers import all_mappers, is_on_join
from auditspan.mapping.policy import Exempt, Policy, audited_model, decided_table
from auditspan.mapping.privacy import Privacy, privacy_of
from auditspan.mapping.row_image import Image, parse_image, parse_value
from auditspan.mapping.subjects import has_erasable, subject_of, types_of
from auditspan.mapping.targets import as_target, identity_of, model_of, target_of
from auditspan.mapping.values import concealed, concealer, readable, target_id

__all__ = [
    "AuditedColumn",
    "AuditedKind",
    "AuditedModel",
    "AuditedTable",
    "Convert",
    "Exempt",
    "Image",
    "LinkTable",
    "Policy",
    "Privacy",
    "all_mappers",
    "as_target",
    "audited_model",
    "audited_table",
    "concealed",
    "concealer",
    "converter",
    "decided_table",
    "has_erasable",
    "home_of",
    "identity_of",
    "is_on_join",
    "keep_private",
    "link_table",
    "model_of",
    "parse_image",
    "parse_value",
    "privacy_of",
    "readable",
    "subject_of",
    "table_named",
    "tables_of",
    "target_id",
    "target_of",
    "types_of",
]
