"""docs/reference/settings.md says of every setting what the program says of it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from pydantic.fields import FieldInfo

from auditspan_service.config import Settings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"


def line(name: str, field: FieldInfo) -> str:
    """The line of a setting in the table."""
    choices = [choice for choice in get_args(field.annotation) if isinstance(choice, str)]
    default = "" if field.default_factory or field.default in {None, ()} else str(field.default)
    says = str(field.description) + (f": {', '.join(choices)}" if choices else "")
    return f"| `AUDITSPAN_{name.upper()}` | {f'`{default}`' if default else ''} | {says} |"


def test_every_setting_is_on_the_page() -> None:
    """Name, default and meaning, in the order of the code; and no setting that is none."""
    expected = [line(name, field) for name, field in Settings.model_fields.items()]
    page = PAGE.read_text(encoding="utf-8").splitlines()
    assert expected == [text for text in page if text.startswith("| `AUDITSPAN_")]
