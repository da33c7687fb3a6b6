"""The audited microservice: users, API keys, and an API for reading the trail.

It uses only the public names of `auditspan`, as any other application would.
"""

from __future__ import annotations
