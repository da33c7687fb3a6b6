"""Every mapper of the process is found."""

from __future__ import annotations

import subprocess
import sys

BEFORE = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase): ...

class Early(Base):
    __tablename__ = "early"
    id: Mapped[int] = mapped_column(primary_key=True)

from auditspan.mapping.mappers import all_mappers

class Late(Base):
    __tablename__ = "late"
    id: Mapped[int] = mapped_column(primary_key=True)

print(*(mapper.class_.__name__ for mapper in all_mappers()))
"""


def test_a_model_that_was_mapped_before_auditspan_was_imported_is_found() -> None:
    """Together with those that are mapped later."""
    done = subprocess.run(
        [sys.executable, "-c", BEFORE], capture_output=True, text=True, check=True
    )
    assert "Early Late\n" == done.stdout
