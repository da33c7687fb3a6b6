"""Links to traces in the pages of a tracing backend, such as Jaeger or Grafana."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from auditspan.errors import AuditConfigError

_PLACE = "{trace_id}"


@dataclass(frozen=True)
class TraceLink:
    """Link to the trace with any id.

    Attributes:
        template: an HTTP URL with `{trace_id}` in the place of the id.

    Raises:
        AuditConfigError: the template is something else; the message does not repeat it.
    """

    template: str

    def __post_init__(self) -> None:
        """Check the template."""
        if not self._is_valid():
            raise AuditConfigError(
                "the URL of traces must be an HTTP URL with {trace_id} after its host, such as "
                "https://jaeger.example.org/trace/{trace_id}"
            )

    @property
    def host(self) -> str:
        """The host that the link leads to."""
        return urlsplit(self.template).netloc

    def to(self, trace_id: str) -> str:
        """Return the URL of a trace."""
        return self.template.replace(_PLACE, trace_id)

    def _is_valid(self) -> bool:
        try:
            parts = urlsplit(self.template)
            is_http = parts.scheme in {"http", "https"} and bool(parts.hostname)
            is_plain = parts.username is None and parts.port != 0 and _PLACE not in parts.netloc
        except ValueError:
            return False
        return is_http and is_plain and _PLACE in self.template and self.template.isprintable()
