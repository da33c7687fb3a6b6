"""The audited microservice: users and API keys, and the API by which auditors read the trail.

It is built on `auditspan` as any second application would be, with public names only.
"""

from __future__ import annotations
