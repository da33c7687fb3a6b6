"""Links of the documents, and the check that finds broken ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import auditspan
from auditspan import alembic, flask, testing, viewer
from links.markdown import anchors, broken_in_markdown, documents
from links.site import broken_in_site

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "python.md"


def test_every_link_in_the_documents_works() -> None:
    """Files and headings exist."""
    pages = documents(ROOT)
    assert ROOT / "README.md" in pages
    assert [] == list(broken_in_markdown(pages))


def test_index_links_to_every_page() -> None:
    """Each reader finds each page from `docs/index.md`; folders have pages of their own."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    folders = ("tutorial", "how-to", "reference", "explanation")
    pages = [page for name in folders for page in (ROOT / "docs" / name).glob("*.md")]
    assert [] == [page.name for page in pages if f"({page.parent.name}/{page.name})" not in index]


def test_anchors_are_those_of_a_repositorys_web_page(tmp_path: Path) -> None:
    """Punctuation is dropped, code is kept, and a repeated heading gets a number."""
    page = tmp_path / "page.md"
    page.write_text("# What's `new`?\n```\n# a comment\n```\n## Two\n## Two\n## [A](x.md) b\n")
    assert {"whats-new", "two", "two-1", "a-b"} == anchors(page)


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("[a](page.md) [b](#title) [c](https://example.com/x)", []),
        ("[a](nowhere.md)", ["no such file"]),
        ("[a](page.md#nothing)", ["no such heading"]),
        ("`[a](nowhere.md)`\n\n```\n[a](nowhere.md)\n```\n", []),
    ],
)
def test_broken_links_in_markdown_are_found(tmp_path: Path, text: str, reasons: list[str]) -> None:
    """Links in code are not links, and other hosts are not asked."""
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{text}\n")
    assert reasons == [broken.reason for broken in broken_in_markdown([page])]


@pytest.mark.parametrize(
    ("html", "reasons"),
    [
        ('<a href="other/#there"></a><p id="here"><a href="#here"></a>', []),
        ('<a href="missing/"></a>', ["no such page"]),
        ('<a href="other/#nothing"></a>', ["no such anchor"]),
        ('<a href="https://example.com/"></a>', []),
        (
            '<link rel="stylesheet" href="https://example.com/a.css">',
            ["requested from another host"],
        ),
        ('<script src="//example.com/a.js"></script>', ["requested from another host"]),
        ('<img src="missing.png">', ["no such page"]),
    ],
)
def test_broken_links_in_a_site_are_found(tmp_path: Path, html: str, reasons: list[str]) -> None:
    """A page may link to another host, and loads nothing from one."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "index.html").write_text('<p id="there">')
    (tmp_path / "index.html").write_text(f'{html}<a href="other/"></a>')
    assert reasons == [broken.reason for broken in broken_in_site(tmp_path)]


def test_page_in_no_section_is_found(tmp_path: Path) -> None:
    """A page that no other page links to is not in the navigation."""
    (tmp_path / "index.html").write_text("")
    (tmp_path / "other.html").write_text('<a href="other.html"></a>')
    assert [tmp_path / "other.html"] == [broken.page for broken in broken_in_site(tmp_path)]


def test_python_page_has_every_public_name() -> None:
    """The names of the packages that applications import, and no other."""
    packages = (auditspan, alembic, flask, testing, viewer)
    public = {f"{one.__name__}.{name}" for one in packages for name in one.__all__}
    assert public == set(re.findall(r"^::: (\S+)$", PAGE.read_text(), re.MULTILINE))
