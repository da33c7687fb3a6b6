"""An auditor who looks at the pages, and what the pages show."""

from __future__ import annotations

import re

from werkzeug.test import TestResponse

from apps.shop import Shop
from apps.shop.story import signed_in
from auditspan import Event

_ROW = re.compile(r'data-row href="/audit/events/([0-9a-f-]{36})"')
_EXPORT = re.compile(r'href="/audit(/export\?[^"]+)"')
_NEXT = re.compile(r'rel="next" href="([^"]+)"')


class Auditor:
    """A client that is signed in as the auditor."""

    def __init__(self, shop: Shop, name: str = "ada") -> None:
        self.shop = shop
        self._client = signed_in(shop, name)

    def get(self, path: str, **filters: str) -> TestResponse:
        """Open a page below /audit."""
        return self._client.get(f"/audit{path}", query_string=filters or None, buffered=True)

    def post(self, path: str, **form: str) -> TestResponse:
        """Send a form to an address below /audit."""
        return self._client.post(f"/audit{path}", data=form, buffered=True)

    def page(self, path: str, **filters: str) -> str:
        """The text of a page that must be shown."""
        response = self.get(path, **filters)
        assert response.status_code == 200, response.text
        return response.text

    def listed(self, **filters: str) -> list[str]:
        """The ids of the events on all pages of a search, newest first."""
        page = self.page("/", **filters)
        found = rows(page)
        while (following := next_page(page)) is not None:
            page = self.page(following)
            found += rows(page)
        return found

    def events(self, **criteria: str) -> list[Event]:
        """The events of the trail without the views of its pages, newest first."""
        with self.shop.sessions() as session:
            found = list(self.shop.trail.events(session, **criteria))  # type: ignore[arg-type]
        return [one for one in found if one.action != "audit.viewed"]

    def views(self) -> list[Event]:
        """The views of the pages, newest first."""
        with self.shop.sessions() as session:
            return list(self.shop.trail.events(session, action="audit.viewed"))


def rows(page: str) -> list[str]:
    """The ids of the events that a page lists."""
    return _ROW.findall(page)


def next_page(page: str) -> str | None:
    """The path of the following page, below /audit."""
    found = _NEXT.search(page)
    return found[1].replace("&amp;", "&").removeprefix("/audit") if found else None


def export_links(page: str) -> list[str]:
    """The paths of the exports that a page links to, below /audit."""
    return [found.replace("&amp;", "&") for found in _EXPORT.findall(page)]
