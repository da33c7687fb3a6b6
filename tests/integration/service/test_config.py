"""Settings: from variables and secret files, and a sentence for each that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditspan.errors import SettingsError
from auditspan_service.config import Settings, load_settings
from auditspan_service.database.engine import Database
from auditspan_service.database.schema import upgrade


def test_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing set everything lies under ./.auditspan, and who acts must be said."""
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    data = tmp_path / ".auditspan"
    assert settings.data_dir == data
    assert settings.database_url == f"sqlite:///{data / 'auditspan.db'}"
    assert settings.collector_files == data / "collector"
    assert settings.mac_key_file == data / "keys" / "mac.key"
    assert (settings.sink, settings.strict, settings.trusted_proxies) == ("otlp", True, ())
    assert settings.audit_endpoint == "http://127.0.0.1:4319/v1/audit"
    assert settings.is_embedded


def test_environment_and_secret_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable counts more than a secret file; a secret file more than a default."""
    (tmp_path / "auditspan_database_url").write_text("postgres://kim:hunter2@db/audit\n")
    (tmp_path / "auditspan_sink").write_text("console")
    monkeypatch.setenv("AUDITSPAN_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("AUDITSPAN_SINK", "file")
    settings = load_settings()
    assert settings.database_url == "postgresql+psycopg://kim:hunter2@db/audit"
    assert settings.sink == "file"
    assert not settings.is_embedded
    assert "hunter2" not in repr(settings)


def test_empty_variable_leaves_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """`AUDITSPAN_SINK=` says nothing."""
    monkeypatch.setenv("AUDITSPAN_SINK", "")
    assert load_settings().sink == "otlp"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://db/audit", "postgresql+psycopg://db/audit"),
        ("postgres://kim:p%40ss@db:5433/audit", "postgresql+psycopg://kim:p%40ss@db:5433/audit"),
        ("postgresql+psycopg:///audit?host=/run", "postgresql+psycopg:///audit?host=%2Frun"),
        ("sqlite:////var/lib/a.db", "sqlite:////var/lib/a.db"),
        ("sqlite:////var/100%25/a#b.db?timeout=9", "sqlite:////var/100%25/a#b.db?timeout=9"),
        ("sqlite:///file:/a%3Fb.db?uri=true", "sqlite:///file:/a%3Fb.db?uri=true"),
    ],
)
def test_database_urls(given: str, expected: str) -> None:
    """PostgreSQL goes through psycopg; nothing else of the URL changes."""
    assert load_settings(database_url=given).database_url == expected


def test_relative_paths_stay_where_the_process_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is made absolute at once."""
    monkeypatch.chdir(tmp_path)
    settings = load_settings(data_dir="data", database_url="sqlite:///x/y.db")
    monkeypatch.chdir("/")
    assert settings.data_dir == tmp_path / "data"
    assert settings.database_url == f"sqlite:///{tmp_path / 'x' / 'y.db'}"


@pytest.mark.parametrize(
    "name", ["plain", "why?no", "q?mode=memory&x=#%3F", "$HOME ${env:X}", "100% sure", "Данные"]
)
def test_default_database_lies_in_the_data_directory(tmp_path: Path, name: str) -> None:
    """The database is created in the data directory, whatever characters its name has."""
    settings = load_settings(data_dir=tmp_path / name)
    again = load_settings(database_url=settings.database_url)
    database = Database.connect(again.database_url)
    upgrade(database.engine)
    database.dispose()
    assert [tmp_path / name / "auditspan.db"] == list(tmp_path.rglob("*.db"))


def test_spaces_around_an_endpoint_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret file or a template often adds them, and no request would succeed with them."""
    monkeypatch.setenv("AUDITSPAN_AUDIT_ENDPOINT", " http://127.0.0.1:4319/v1/audit\n")
    assert "http://127.0.0.1:4319/v1/audit" == load_settings().audit_endpoint


WRONG = {
    "DATABASE_URL": [
        *("nonsense hunter2", "mysql://kim:hunter2@db/x", "postgresql+asyncpg://kim:hunter2@db/x"),
        *("sqlite://", "sqlite:///:memory:", "sqlite:///file::memory:?uri=true"),
        *("sqlite:///file:x?mode=memory&uri=true", "sqlite:////why?hunter2/a.db"),
        "sqlite:///file:/hunter2/a.db",
    ],
    "SINK": ["hunter2"],
    "AUDIT_ENDPOINT": [
        *("hunter2", "ftp://hunter2/", "http://", "http://host:99999/", "http://[::1/"),
        *("http://kim:hunter2@host/v1/audit", "http://hunter2 x/v1/audit", "http://host/hunter2 x"),
    ],
    "TRUSTED_PROXIES": ["10.0.0.0/33", "localhost"],
    "STRICT": ["hunter2"],
    "LOG_LEVEL": ["hunter2"],
    "LOG_FORMAT": ["hunter2"],
    "MAX_CONTENT_LENGTH": ["0", "-1", "hunter2", "999999999999"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_wrong_value(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong value is one sentence that names its variable and does not repeat a secret."""
    monkeypatch.setenv(f"AUDITSPAN_{name}", value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    (sentence,) = caught.value.sentences
    assert sentence.startswith(f"AUDITSPAN_{name} is invalid: ")
    assert sentence.endswith(".")
    assert "hunter2" not in sentence


def test_all_wrong_values_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several wrong values are told in one go."""
    monkeypatch.setenv("AUDITSPAN_SINK", "x")
    monkeypatch.setenv("AUDITSPAN_STRICT", "x")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert [sentence.split()[0] for sentence in caught.value.sentences] == [
        "AUDITSPAN_SINK",
        "AUDITSPAN_STRICT",
    ]


def test_secrets_directory_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that is named must be there: its secrets would silently be missing."""
    monkeypatch.setenv("AUDITSPAN_SECRETS_DIR", "/nowhere")
    with pytest.raises(SettingsError, match="AUDITSPAN_SECRETS_DIR is invalid: /nowhere"):
        load_settings()


def test_every_setting_has_a_description() -> None:
    """Each field has its description."""
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
