"""Check of the English that people read: docstrings, messages, help, documents and names of tests.

Each pattern is a habit that CONTRIBUTING.md names. Exit code 1, and a line for each finding:

    python tests/prose/check.py [PATH…]
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PLACES = (
    "src",
    "benchmarks",
    "examples",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "docs",
)
DETERMINER = "(?:the|a|an|its|their|his|every|each|all|any|it|them|this|that|these|those)"
PARTICIPLE = r"(?:\w+ed|made|kept|sent|done|written|read|heard|seen|told|built|run|held|taken)"
PATTERNS = {
    "causative 'have'": rf"(?:^|[.:;] )Have {DETERMINER}\b"
    rf"|\b(?:to|must|can|will|may|let) have {DETERMINER} (?:[\w`]+ ){{0,3}}{PARTICIPLE}\b",
    "'whoever'": r"\bwho(?:m|so)?ever\b",
    "'somebody', 'nobody'": r"\b(?:some|no|any)body\b",
    "'is no X'": r"(?<!there )\b(?:is|are|was|were) no (?!longer|more\b|fewer|less|such)\w+",
    "'of which', 'of whom'": r"\bof (?:which|whom)\b",
}
OPENING = re.compile(r"(?:What|Who|Whom|Whose|Whether|Which|How|Why|Where|When)\b")
"""How no docstring begins: an imperative verb or a noun phrase says what the thing is."""

TEST_NAME = re.compile(
    r"\bdef (test_(?:(?:what|who)_\w+"
    r"|\w*(?:(?<!there)_is_no_(?!longer)|_(?:nobody|somebody|whoever|told)(?:_|\b))\w*))"
)
"""How no test is named: its name is subject, condition, outcome."""

TESTS = ("e2e", "integration/library", "integration/trust", "support", "unit")
"""The folders of tests whose docstrings are checked."""

CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)

ALLOWED: dict[str, str] = {}
"""Text that stays as it is, with the reason."""


class Text(NamedTuple):
    """One text that people read."""

    path: Path
    line: int
    text: str
    is_docstring: bool = False


class Finding(NamedTuple):
    """One text that is not as it should be."""

    path: Path
    line: int
    pattern: str
    words: str


def texts(path: Path) -> Iterator[Text]:
    """Yield docstrings and messages of a module, or the paragraphs of a document."""
    source = path.read_text(encoding="utf-8")
    yield from _of_module(path, source) if path.suffix == ".py" else _of_document(path, source)


def findings(text: Text) -> Iterator[Finding]:
    """Yield what breaks a rule in one text."""
    plain = " ".join(re.sub(r"`[^`]*`", "`x`", text.text).split())
    if text.is_docstring and (found := OPENING.match(plain)):
        yield Finding(text.path, text.line, "docstring begins with", found[0])
    for name, pattern in PATTERNS.items():
        for match in re.finditer(pattern, plain, re.IGNORECASE if "Have" not in pattern else 0):
            around = plain[max(0, match.start() - 30) : match.end() + 30]
            if not any(allowed in around for allowed in ALLOWED):
                yield Finding(text.path, text.line, name, around)


def test_names(path: Path) -> Iterator[Finding]:
    """Yield the names of a module's tests that break a rule."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if match := TEST_NAME.search(line):
            yield Finding(path, number, "name of a test", match[1])


def _of_module(path: Path, source: str) -> Iterator[Text]:
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    own = set()
    for node in ast.walk(tree):
        if isinstance(node, documented) and (docstring := ast.get_docstring(node)):
            own.add(id(node.body[0].value))  # type: ignore[attr-defined]
            yield Text(path, node.body[0].lineno, docstring, is_docstring=True)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in own:
            yield Text(path, node.lineno, node.value)


def _of_document(path: Path, source: str) -> Iterator[Text]:
    source = CODE.sub(lambda block: "\n" * block[0].count("\n"), source)
    line = 1
    for paragraph in re.split(r"(\n\s*\n)", source):
        yield Text(path, line, paragraph)
        line += paragraph.count("\n")


def _of_tests() -> Iterator[Finding]:
    """Yield findings in the names of all tests, and in the docstrings of some folders."""
    tests = ROOT / "tests"
    for path in sorted(tests.rglob("test_*.py")):
        yield from test_names(path)
    for path in sorted(path for folder in TESTS for path in (tests / folder).rglob("*.py")):
        for text in texts(path):
            if text.is_docstring:
                yield from findings(text)


def main(places: list[str]) -> int:
    """Print every finding; return 1 where there is one."""
    roots = [Path(place) for place in places] or [ROOT / place for place in PLACES]
    files = [
        path
        for root in roots
        for path in ([root] if root.is_file() else sorted(root.rglob("*")))
        if path.suffix in {".py", ".md"}
    ]
    found = [one for path in files for text in texts(path) for one in findings(text)]
    found += [] if places else [*_of_tests()]
    for one in found:
        where = one.path.relative_to(ROOT) if one.path.is_relative_to(ROOT) else one.path
        sys.stdout.write(f"{where}:{one.line}: {one.pattern}: {one.words}\n")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
