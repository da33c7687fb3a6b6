"""Diagnosis of a set-up, in sentences."""

from __future__ import annotations

from auditspan.cli.doctor.checks import (
    examine_collector,
    examine_collector_config,
    examine_keys,
    examine_sink,
    examine_variables,
    examine_workers,
)
from auditspan.cli.doctor.examination import Examination
from auditspan.cli.doctor.models import ModelReview, review_models
from auditspan.cli.doctor.raw_writes import find_raw_writes

__all__ = [
    "Examination",
    "ModelReview",
    "examine_collector",
    "examine_collector_config",
    "examine_keys",
    "examine_sink",
    "examine_variables",
    "examine_workers",
    "find_raw_writes",
    "review_models",
]
