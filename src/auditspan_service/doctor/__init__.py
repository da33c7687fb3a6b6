"""Diagnosis of a set-up, in sentences."""

from __future__ import annotations
