"""Diagnosis of a set-up, in sentences."""

from __future__ import annotations

from auditspan.doctor.checks import (
    Examination,
    examine_collector,
    examine_collector_config,
    examine_keys,
    examine_sink,
    examine_workers,
)

__all__ = [
    "Examination",
    "examine_collector",
    "examine_collector_config",
    "examine_keys",
    "examine_sink",
    "examine_workers",
]
