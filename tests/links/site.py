"""Links and requests of a built site: all stay inside it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from links.broken import Broken

_LOADED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "video": "src"}
"""Attributes by which a page loads something without a click."""


class Page(HTMLParser):
    """Ids and links of one HTML page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element has."""
        values = {name: value for name, value in attrs if value is not None}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and values.get("rel") not in {"canonical", "next", "prev"}:
            self.loaded.append(values.get("href", ""))
        if tag in _LOADED and _LOADED[tag] in values:
            self.loaded.append(values[_LOADED[tag]])


@cache
def parsed(path: Path) -> Page:
    """Return one page, read once."""
    return Page(path.read_text(encoding="utf-8"))


def broken_in_site(site: Path) -> Iterator[Broken]:
    """Yield links to pages or anchors that do not exist, and what another host would be asked for.

    The page for unknown addresses is skipped: its links begin at the root of the host.
    """
    site = site.resolve()
    for path in sorted(site.rglob("*.html")):
        if path.name == "404.html":
            continue
        page = parsed(path)
        for link in page.links:
            if reason := _reason(site, path, link):
                yield Broken(path, link, reason)
        for link in page.loaded:
            if _is_elsewhere(link):
                yield Broken(path, link, "requested from another host")
            elif reason := _reason(site, path, link):
                yield Broken(path, link, reason)
    yield from _styles(site)
    yield from _unlisted(site)


def _unlisted(site: Path) -> Iterator[Broken]:
    """Yield the pages that no other page links to: they are in no section of the navigation."""
    pages = {path for path in site.rglob("*.html") if path.name != "404.html"}
    linked = {
        target
        for path in pages
        for link in parsed(path).links
        if not _is_elsewhere(link) and (target := _target(path, link)) != path
    }
    for path in sorted(pages - linked - {site / "index.html"}):
        yield Broken(path, "(no link)", "in no section: docs/.nav.yml")


def _styles(site: Path) -> Iterator[Broken]:
    for path in sorted(site.rglob("*.css")):
        text = path.read_text(encoding="utf-8")
        if "url(http" in text or "url(//" in text or "@import" in text:
            yield Broken(path, "url(…)", "requested from another host")


def _is_elsewhere(link: str) -> bool:
    parts = urlsplit(link)
    return bool(parts.netloc) or parts.scheme in {"http", "https"}


def _reason(site: Path, path: Path, link: str) -> str | None:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    target = _target(path, link)
    if not (target.is_file() and target.is_relative_to(site)):
        return "no such page"
    fragment = unquote(parts.fragment)
    if fragment and target.suffix == ".html" and fragment not in parsed(target).ids:
        return "no such anchor"
    return None


def _target(path: Path, link: str) -> Path:
    """Return the file that a link of a page leads to."""
    parts = urlsplit(link)
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    return target / "index.html" if target.is_dir() else target
