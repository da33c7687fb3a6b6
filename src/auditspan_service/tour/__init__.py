"""The tour: scripted requests, and a check of the records of each."""

from __future__ import annotations
