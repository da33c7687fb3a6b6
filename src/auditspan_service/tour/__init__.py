"""The tour: a scripted story, and the proof of what it left behind."""

from __future__ import annotations
