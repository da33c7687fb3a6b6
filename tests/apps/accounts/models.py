"""Users, in the manner of a Flask-SQLAlchemy tutorial."""

from __future__ import annotations

from datetime import UTC, datetime

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.security import check_password_hash, generate_password_hash

from auditspan import AuditTrail

db = SQLAlchemy()
trail = AuditTrail(db.session, metadata=db.metadata)


class User(db.Model):  # type: ignore[name-defined, misc]  # Flask-SQLAlchemy builds it at run time
    """A person who may log in."""

    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(db.String(50), unique=True)
    email: Mapped[str | None] = mapped_column(db.String(100))
    password_hash: Mapped[str] = mapped_column(db.String(200))
    created_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))

    def set_password(self, password: str) -> None:
        """Keep the hash of a password."""
        self.password_hash = generate_password_hash(password)

    def has_password(self, password: str) -> bool:
        """Whether this is the user's password."""
        return check_password_hash(self.password_hash, password)
