"""The policy: which columns of a model are recorded, and how."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import inspect
from sqlalchemy.orm import DeclarativeBase, Mapped, configure_mappers, mapped_column

from auditspan import AuditConfigError, Policy
from auditspan.mapping.audited_model import AuditedModel
from auditspan.mapping.policy import audited_model

COLUMNS = {"id", "email", "password", "iban", "touched_at", "fullName"}


def model(decision: Any, name: str = "BankAccount") -> AuditedModel | None:
    """Return the audited columns of a model with this `__audit__` and other attribute names."""

    class Base(DeclarativeBase):
        pass

    members = {
        "__tablename__": "account",
        "__annotations__": dict.fromkeys(
            ["id", "mail", "password", "iban", "touched_at", "full_name"], Mapped[str]
        ),
        "id": mapped_column(primary_key=True),
        "mail": mapped_column("email"),
        "full_name": mapped_column("fullName"),
    }
    if decision is not None:
        members["__audit__"] = decision
    class_ = type(name, (Base,), members)
    try:
        return audited_model(inspect(class_))
    finally:
        Base.registry.dispose()


def shown(decision: Any) -> dict[str, bool]:
    """The recorded columns, and whether each is redacted."""
    audited = model(decision)
    assert audited is not None
    return {column.name: column.redacted for column in audited.columns}


@pytest.mark.parametrize(
    ("decision", "missing", "redacted"),
    [
        (True, set(), {"password"}),
        (Policy(), set(), {"password"}),
        (Policy(redact={"iban"}), set(), {"password", "iban"}),
        (Policy(exclude={"iban", "password"}), {"iban", "password"}, set()),
        (Policy(include={"password"}), COLUMNS - {"id", "password"}, set()),
        (Policy(include={"fullName"}), COLUMNS - {"id", "fullName"}, set()),
        (Policy(include={"iban"}, redact={"iban"}), COLUMNS - {"id", "iban"}, {"iban"}),
        (Policy(ignore={"touched_at"}), set(), {"password"}),
        (Policy(reveal={"password"}), set(), set()),
        (Policy(reveal={"password"}, redact={"iban"}), set(), {"iban"}),
    ],
)
def test_a_policy_says_what_appears_and_how(
    decision: Any, missing: set[str], redacted: set[str]
) -> None:
    """Included, excluded and redacted columns are those of the policy, by their column names."""
    assert {name: name in redacted for name in COLUMNS - missing} == shown(decision)


@pytest.mark.parametrize("decision", [None, False])
def test_a_model_without_a_policy_is_not_audited(decision: Any) -> None:
    """Nothing is recorded of a model that did not ask for it."""
    assert model(decision) is None


@pytest.mark.parametrize(
    ("class_name", "decision", "expected"),
    [
        ("User", True, "user"),
        ("BankAccount", True, "bank_account"),
        ("HTTPRequest", True, "http_request"),
        ("User", Policy(name="person"), "person"),
    ],
)
def test_the_target_type_is_the_class_name_unless_the_policy_says_otherwise(
    class_name: str, decision: Any, expected: str
) -> None:
    """Class names become snake_case; `name` has the last word."""
    audited = model(decision, class_name)
    assert audited is not None
    assert expected == audited.type


@pytest.mark.parametrize("member", ["include", "exclude", "redact", "reveal", "ignore"])
@pytest.mark.parametrize(
    ("wrong", "nearest"), [("ibann", "iban"), ("full_name", "fullName"), ("pasword", "password")]
)
def test_a_column_that_does_not_exist_is_refused_with_the_nearest_name(
    member: str, wrong: str, nearest: str
) -> None:
    """A misspelt policy would protect nothing; it fails and says what was probably meant."""
    names: dict[str, Any] = {member: {wrong}}
    with pytest.raises(AuditConfigError) as refusal:
        model(Policy(**names))
    assert repr(wrong) in str(refusal.value) or f"`{wrong}`" in str(refusal.value)
    assert nearest in str(refusal.value)


def test_a_misspelt_policy_fails_when_the_mappers_are_configured() -> None:
    """It does not wait for the first write."""

    class Base(DeclarativeBase):
        pass

    class Account(Base):
        __tablename__ = "account"
        __audit__ = Policy(exclude={"ibann"})
        id: Mapped[int] = mapped_column(primary_key=True)
        iban: Mapped[str]

    try:
        with pytest.raises(AuditConfigError, match="ibann"):
            configure_mappers()
    finally:
        Base.registry.dispose()


@pytest.mark.parametrize("member", ["include", "exclude", "redact", "reveal", "ignore"])
def test_a_name_in_place_of_names_is_refused(member: str) -> None:
    """`redact="iban"` is refused, and not read as a collection of letters."""
    names: dict[str, Any] = {member: "iban"}
    with pytest.raises(AuditConfigError):
        model(Policy(**names))


@pytest.mark.parametrize("decision", ["yes", 1, {"redact": {"iban"}}, Policy], ids=repr)
def test_a_decision_of_another_kind_is_refused(decision: Any) -> None:
    """`__audit__` is True, False or a Policy; anything else is a mistake, not a default."""
    with pytest.raises(AuditConfigError):
        model(decision)


def test_the_primary_key_is_always_recorded() -> None:
    """A policy cannot leave out the primary key, by which a record is found."""
    audited = model(Policy(include=set()))
    assert audited is not None
    assert [("id",), ["id"]] == [audited.primary_key, [c.name for c in audited.columns]]


def test_column_that_is_both_redacted_and_revealed_is_refused() -> None:
    """A policy that contradicts itself is a mistake that the message names."""
    with pytest.raises(AuditConfigError, match="'iban' both in redact and in reveal"):
        model(Policy(redact={"iban"}, reveal={"iban"}))
