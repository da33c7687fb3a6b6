"""Pages for auditors: the library's viewer at `/`, and signing in to it with an API key."""

from __future__ import annotations

from auditspan_service.pages.install import install

__all__ = ["install"]
