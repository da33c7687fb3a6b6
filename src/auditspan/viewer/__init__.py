"""Web pages of the trail, for any Flask application."""

from __future__ import annotations

from auditspan.viewer.blueprint import SECURITY_HEADERS, viewer_blueprint
from auditspan.viewer.viewer import Account, Connect, Viewer

__all__ = ["SECURITY_HEADERS", "Account", "Connect", "Viewer", "viewer_blueprint"]
