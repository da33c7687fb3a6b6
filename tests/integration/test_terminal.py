"""Commands on a terminal: colours, and completion by a shell."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.running import AUDITSPAN, clean_environment
from support.terminal import on_terminal

PROGRAM = """
from auditspan.cli.commands import print_rows
print_rows([{"action": "a.b", "outcome": "failure", "text": "[red]\\x1b[31m"}])
"""
RED = "\x1b[31mfailure"
PLAIN = "ACTION  OUTCOME  TEXT\na.b     failure  [red]\\x1b[31m"


def coloured(**variables: str) -> str:
    """Return what the program prints on a terminal."""
    return on_terminal([sys.executable, "-c", PROGRAM], variables)


SHOP = """
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from auditspan import Actor, AuditTrail, audit_context

class Base(DeclarativeBase): ...

class Invoice(Base):
    __tablename__ = "invoice"
    __audit__ = True
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_name: Mapped[str]
    delivery_address: Mapped[str]

Session = sessionmaker(create_engine("sqlite:///shop.db"))
trail = AuditTrail(Session, metadata=Base.metadata, mac_key=None)

def fill():
    Base.metadata.create_all(Session.kw["bind"])
    actor = Actor.user(4711, label="a.very.long.name@example.org")
    with audit_context(actor=actor), Session.begin() as session:
        session.add(Invoice(id=123456789012, customer_name="kim", delivery_address="here"))
        trail.record(session, "authorization.failure", outcome="failure", reason="no scope")
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The directory of an application with two events, of long names."""
    (tmp_path / "shop.py").write_text(SHOP)
    subprocess.run([sys.executable, "-c", "import shop; shop.fill()"], cwd=tmp_path, check=True)
    return tmp_path


def events_on_terminal(shop: Path, columns: int) -> list[str]:
    """Return the lines of `auditspan events` on a terminal of this width."""
    command = [str(AUDITSPAN), "--app", "shop:trail", "events"]
    printed = on_terminal(command, {"NO_COLOR": "1"}, columns=columns, cwd=shop)
    return [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in printed.splitlines()]


def test_events_fit_a_terminal_of_eighty_columns(shop: Path) -> None:
    """They show what changed, a failure, and an id that `--actor` accepts."""
    header, *lines = events_on_terminal(shop, 80)
    assert "SEQ OCCURRED AT ACTOR ACTION TARGET CHANGED" == " ".join(header.split())
    assert {True} == {len(line) <= 80 for line in (header, *lines)}
    assert {True} == {" 4711 " in line for line in lines}
    shown = header.index("CHANGED")
    assert ["custo", "failu"] == sorted(line[shown : shown + 5] for line in lines)


def test_events_on_a_wide_terminal_have_every_column(shop: Path) -> None:
    """The ids of trace and event too."""
    header, *lines = events_on_terminal(shop, 200)
    assert header.endswith("TRACE ID  EVENT ID")
    assert any("customer_name delivery_address id" in line for line in lines)


def test_terminal_shows_colours() -> None:
    """A failure is red; text of the trail is neither markup nor a control sequence."""
    printed = coloured()
    assert RED in printed
    assert "[red]\\x1b[31m" in printed


def test_no_color_switches_colours_off() -> None:
    """NO_COLOR leaves plain text."""
    assert RED not in coloured(NO_COLOR="1")


def test_pipe_has_no_colours() -> None:
    """Other programs read plain columns, without trailing spaces."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert PLAIN == done.stdout.rstrip("\n")


@pytest.mark.parametrize("output", [">&-", "> /dev/full"], ids=["closed", "full"])
def test_output_that_cannot_be_written_is_an_error(shop: Path, output: str) -> None:
    """A report that is lost must not pass for one that found nothing."""
    command = f"{AUDITSPAN} --app shop:trail events --json {output}"
    options: dict[str, Any] = {"cwd": shop, "env": clean_environment(), "text": True}
    done = subprocess.run(["/bin/sh", "-c", command], check=False, capture_output=True, **options)
    assert 2 == done.returncode
    assert re.search("Standard output is closed|No space left on device", done.stderr)


@pytest.mark.parametrize(
    ("words", "position", "expected"),
    [
        ("auditspan ev", "1", ["plain,events"]),
        ("auditspan --ap", "1", ["plain,--app"]),
        ("auditspan events --act", "2", ["plain,--actor", "plain,--action"]),
        ("auditspan --app shop:trail ba", "3", ["plain,baseline"]),
    ],
)
def test_shell_completes_commands_and_options(
    words: str, position: str, expected: list[str]
) -> None:
    """Commands are completed without importing them."""
    asked = {"_AUDITSPAN_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": position}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from auditspan_service.cli import main; main(prog_name='auditspan')",
        ],
        env={**clean_environment(), **asked},
        capture_output=True,
        text=True,
        check=False,
    )
    assert expected == done.stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_a_shell(shell: str) -> None:
    """It names the variable that the command line reads."""
    done = subprocess.run(
        [sys.executable, "-m", "auditspan_service.cli", "completion", shell],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"_AUDITSPAN_COMPLETE={shell}_complete" in done.stdout
